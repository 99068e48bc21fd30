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

from fdrd.curation.leaks import CLUSTER
from fdrd.files.atomic import sha256_of
from fdrd.policy import Policy, resolve
from fdrd.progress import Progress, silent
from fdrd.reasons import REASONS, REVIEW_REASONS
from fdrd.record import features
from fdrd.storage.manifest import read_manifest, schema
from fdrd.storage.shard_file import digests_path, read_batches, read_schema, row_digest, row_text

_NAMED = 3  # damaged rows that a message names


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
    shards = {shard["path"] for shard in manifest["shards"]}
    listed = shards | set(map(digests_path, shards))
    for path in sorted((*(folder / "data").rglob("*"), *(folder / "digests").rglob("*"))):
        if path.is_file() and path.relative_to(folder).as_posix() not in listed:
            yield Problem(path.relative_to(folder).as_posix(), "is not in the manifest")
    seen = _Seen(resolve(manifest["config"]["policy"]))
    done = 0
    for shard in manifest["shards"]:
        digests, problems = _row_digests(folder, shard)
        yield from problems
        path = folder / shard["path"]
        if not path.is_file():
            yield Problem(shard["path"], "is missing; build again")
        elif sha256_of(path) != shard["sha256"]:
            yield Problem(
                shard["path"],
                "its bytes are not those that were built (sha256)"
                f"{_damaged_rows(path, digests)}; build again",
            )
        else:
            yield from _check_rows(path, manifest, shard, digests, seen)
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
            known = json.loads(line)["reason"] in REASONS | REVIEW_REASONS
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            yield Problem("rejected.jsonl", f"line {number} is no rejection")


def _row_digests(folder: Path, shard: dict[str, Any]) -> tuple[list[str], list[Problem]]:
    """The digests of a shard's rows as they were built, and what is wrong with the file of them."""
    place = digests_path(shard["path"])
    if not (folder / place).is_file():
        return [], [Problem(place, "is missing; build again")]
    if sha256_of(folder / place) != shard["rows_sha256"]:
        return [], [Problem(place, "its bytes are not those that were built (sha256); build again")]
    lines = (folder / place).read_text(encoding="utf-8").split("\n")
    return [line.partition(" ")[0] for line in lines], []


def _damaged_rows(path: Path, digests: list[str]) -> str:
    """Which rows of a damaged shard are not as they were built, in words."""
    damaged, number = [], 0
    try:
        for batch in read_batches(path):
            batch.validate(full=True)  # what is not sound must not be looked into
            for row in batch.to_pylist():
                if number < len(digests) and not _is_as_built(row, digests[number]):
                    damaged.append(f"row {number} ({row['id']})")
                number += 1
    except (pa.ArrowException, ValueError, OSError) as error:
        damaged.append(f"nothing from row {number} on can be read ({type(error).__name__})")
    if len(damaged) > _NAMED:
        damaged[_NAMED:] = [f"{len(damaged) - _NAMED} more"]
    return f": {', '.join(damaged)}" if damaged else ""


def _is_as_built(row: dict[str, Any], digest: str) -> bool:
    image = hashlib.sha256(row["image"]["bytes"]).hexdigest()
    return image == row["source"]["sha256"] and row_digest(row_text(row)) == digest


def _check_rows(
    path: Path, manifest: dict[str, Any], shard: dict[str, Any], digests: list[str], seen: _Seen
) -> Iterator[Problem]:
    wanted = features(manifest["categories"]).arrow_schema
    validator = schema("record")
    found = read_schema(path)
    if not found.equals(wanted) or found.metadata != wanted.metadata:
        yield Problem(
            shard["path"], "its columns or its class labels are not those of the manifest"
        )
        return
    rows = 0
    for batch in read_batches(path):
        for row in batch.to_pylist():
            place = f"{shard['path']}: row {rows}"
            if rows < len(digests) and row_digest(row_text(row)) != digests[rows]:
                yield Problem(place, f"{row['id']}: is not as it was built (its digest)")
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
    if row["group"].startswith(CLUSTER):
        belongs["near_image_in_other_split", row["group"]] = "group of images that look alike"
    elif row["group"] != sha256[:16]:  # a given one
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
