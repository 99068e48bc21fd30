"""Checks a built dataset against its manifest: every digest, count, span, negative and split.

It reads what is on the disk, trusts nothing that the builder remembers, and yields what is wrong.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from fdrd.manifest import read_manifest, schema
from fdrd.policy import Policy, resolve
from fdrd.progress import Progress, silent
from fdrd.reasons import REASONS
from fdrd.record import features


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong, and where: a file of the dataset, or a row of a shard."""

    place: str
    what: str


def validate(folder: Path, progress: Progress = silent) -> Iterator[Problem]:
    """Yields every problem of the dataset in `folder`; nothing where it is whole.

    Raises:
        FdrdError: there is no valid manifest to check against.
    """
    manifest = read_manifest(folder)
    yield from _check_sums(folder, manifest)
    listed = {shard["path"] for shard in manifest["shards"]}
    for path in sorted((folder / "data").rglob("*")):
        if path.is_file() and path.relative_to(folder).as_posix() not in listed:
            yield Problem(path.relative_to(folder).as_posix(), "is not in the manifest")
    seen = _Seen(resolve(manifest["config"]["policy"]))
    done = 0
    for shard in manifest["shards"]:
        problem = _check_file(folder, shard)
        if problem:
            yield problem
        else:
            yield from _check_rows(folder, manifest, shard, seen)
        done += shard["rows"]
        progress("checking rows", done, manifest["records"]["kept"])


@dataclass(frozen=True, slots=True)
class _Seen:
    """Where ids, pairs and what must stay in one split were first found, over all shards."""

    policy: Policy
    ids: dict[str, str] = field(default_factory=dict)
    pairs: dict[tuple[str, str], str] = field(default_factory=dict)
    splits: dict[tuple[str, ...], str] = field(default_factory=dict)
    """By reason and value: the split in which an image, a group or a caption was first found."""


def _check_sums(folder: Path, manifest: dict[str, Any]) -> Iterator[Problem]:
    records = manifest["records"]
    if records["read"] != records["kept"] + records["rejected"]:
        yield Problem("manifest.json", "records read are not kept + rejected")
    for file, entry in manifest["files"].items():
        if entry["read"] != entry["kept"] + sum(entry["rejected"].values()):
            yield Problem("manifest.json", f"{file}: records read are not kept + rejected")
    totals = {
        "pairs": sum(split["pairs"] for of in manifest["splits"].values() for split in of.values()),
        "rows of the shards": sum(shard["rows"] for shard in manifest["shards"]),
        "kept by file": sum(entry["kept"] for entry in manifest["files"].values()),
    }
    for what, total in totals.items():
        if total != records["kept"]:
            yield Problem("manifest.json", f"{what} add up to {total}, kept are {records['kept']}")
    rejected = folder / "rejected.jsonl"
    lines = rejected.read_text(encoding="utf-8").splitlines() if rejected.is_file() else []
    if len(lines) != records["rejected"]:
        yield Problem(
            "rejected.jsonl", f"has {len(lines)} lines, rejected are {records['rejected']}"
        )
    for number, line in enumerate(lines, 1):
        try:
            known = json.loads(line)["reason"] in REASONS
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            yield Problem("rejected.jsonl", f"line {number} is no rejection")


def _check_file(folder: Path, shard: dict[str, Any]) -> Problem | None:
    path = folder / shard["path"]
    if not path.is_file():
        return Problem(shard["path"], "is missing; build again")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != shard["sha256"]:
            return Problem(
                shard["path"], "its bytes are not those that were built (sha256); build again"
            )
    return None


def _check_rows(
    folder: Path, manifest: dict[str, Any], shard: dict[str, Any], seen: _Seen
) -> Iterator[Problem]:
    wanted = features(manifest["categories"]).arrow_schema
    validator = schema("record")
    rows = 0
    with pa.memory_map(str(folder / shard["path"])) as file, pa.ipc.open_stream(file) as stream:
        if not stream.schema.equals(wanted, check_metadata=True):
            yield Problem(
                shard["path"], "its columns or its class labels are not those of the manifest"
            )
            return
        for batch in stream:
            for row in batch.to_pylist():
                place = f"{shard['path']}: row {rows}"
                rows += 1
                image = row.pop("image")["bytes"]
                row["category"] = manifest["categories"][row["category"]]
                record = {
                    **row,
                    "image": {"path": row["source"]["file"], "member": ""},
                    "split": shard["split"],
                    "rules": [],
                }
                for error in validator.iter_errors(record):
                    yield Problem(place, f"{error.json_path}: {error.message}")
                for what in _flaws(row, image, shard, seen):
                    yield Problem(place, f"{row['id']}: {what}")
    if rows != shard["rows"]:
        yield Problem(shard["path"], f"has {rows} rows, the manifest says {shard['rows']}")


def _flaws(row: dict[str, Any], image: bytes, shard: dict[str, Any], seen: _Seen) -> Iterator[str]:
    sha256 = row["source"]["sha256"]
    if hashlib.sha256(image).hexdigest() != sha256:
        yield "the digest of the image is not its source's"
    if row["domain"] != shard["domain"]:
        yield f"domain {row['domain']!r} in a shard of {shard['domain']!r}"
    if row["id"] in seen.ids:
        yield f"the same id stands in {seen.ids[row['id']]}"
    seen.ids[row["id"]] = shard["path"]
    pair = (sha256, row["caption"].casefold())
    if pair in seen.pairs and seen.policy["duplicate_pair"] != "keep":
        yield f"the same image and caption as {seen.pairs[pair]}"
    seen.pairs[pair] = row["id"]
    belongs: dict[tuple[str, ...], str] = {
        ("image_in_other_split", sha256): "image",
        ("caption_in_other_split", row["caption"].casefold()): "caption",
    }
    if row["group"] != sha256[:16]:  # a given one
        belongs["group_in_other_split", row["domain"], row["group"]] = "group"
    for key, what in belongs.items():
        if seen.policy[key[0]] == "keep":
            continue
        split = seen.splits.setdefault(key, shard["split"])
        if split != shard["split"]:
            yield f"its {what} is also in {split}"
    for attribute in row["attributes"]:
        if row["caption"][attribute["start"] : attribute["end"]] != attribute["value"]:
            yield f"the attribute {attribute['value']!r} is not at its place in the caption"
    captions = [negative["caption"] for negative in row["negatives"]]
    if row["caption"] in captions:
        yield "a negative equals the caption"
    if len(set(captions)) < len(captions):
        yield "a negative is repeated"
