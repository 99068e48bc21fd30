"""Check a built dataset against its manifest: digests, counts, spans, negatives, and leaks between splits.

Everything is read from the disk. Nothing that the builder remembers is trusted.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fdrd.columns import KNOWN_COLUMNS, extra_of
from fdrd.curation.near_duplicates import NearImages, find_near_images
from fdrd.curation.splitting import CLUSTER
from fdrd.errors import first_line
from fdrd.files.atomic import sha256_of
from fdrd.images.check import check_image_bytes
from fdrd.progress import Progress, silent
from fdrd.reasons import REASONS, REVIEW_REASONS, Policy, resolve
from fdrd.record import category_name
from fdrd.storage import shard_file
from fdrd.storage.manifest import Manifest, Shard, read_manifest, schema
from fdrd.storage.resume import distrust
from fdrd.storage.shard_file import UNREADABLE

_COPIES = {"near": "near duplicate", "mirrored": "mirrored or turned copy"}


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem and its place: a file of the dataset, or a row of a shard."""

    place: str
    what: str


def validate(
    folder: str | os.PathLike[str], *, images: bool = False, progress: Progress = silent
) -> list[Problem]:
    """Return every problem of the dataset in `folder`, or an empty list if it is valid.

    Args:
        folder: a folder that `fdrd.build` wrote.
        images: also decode every image and look for near duplicates in different splits. This takes
            about as long as checking the images during the build.
        progress: receives the number of checked rows.

    Raises:
        FdrdError: there is no valid manifest to check against.
    """
    path = Path(folder)
    manifest = read_manifest(path)
    problems = [
        *_check_sums(path, manifest),
        *_check_croissant(path, manifest),
        *_check_shards(path, manifest, images, progress),
    ]
    if problems:
        distrust(path)  # so that the next build finds damage that changed no time and no size
    return problems


def _check_sums(folder: Path, manifest: Manifest) -> Iterator[Problem]:
    records = manifest.records
    if records.read != records.kept + records.rejected:
        yield Problem("manifest.json", "records read are not kept + rejected")
    for file, entry in manifest.files.items():
        if entry.read != entry.kept + sum(entry.rejected.values()):
            yield Problem("manifest.json", f"{file}: records read are not kept + rejected")
    splits = [split for domain in manifest.splits.values() for split in domain.values()]
    totals = {
        "pairs": sum(split.pairs for split in splits),
        "rows of the shards": sum(shard.rows for shard in manifest.shards),
        "kept by file": sum(entry.kept for entry in manifest.files.values()),
    }
    for name, total in totals.items():
        if total != records.kept:
            yield Problem("manifest.json", f"{name} add up to {total}, kept are {records.kept}")
    rejected = folder / "rejected.jsonl"
    text = rejected.read_text("utf-8", "replace") if rejected.is_file() else ""
    lines = text.splitlines()
    if len(lines) != records.rejected:
        flaw = f"has {len(lines)} lines, the manifest counts {records.rejected} rejected"
        yield Problem("rejected.jsonl", flaw)
    for index, line in enumerate(lines, 1):
        known = False
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            known = json.loads(line)["reason"] in REASONS | REVIEW_REASONS
        if not known:
            yield Problem("rejected.jsonl", f"line {index} is not a rejected record")


def _check_croissant(folder: Path, manifest: Manifest) -> Iterator[Problem]:
    """Compare the digests in `croissant.json`, which other tools check, with those of the manifest."""
    try:
        listed = json.loads((folder / "croissant.json").read_bytes())["distribution"]
        found = {each["contentUrl"]: each["sha256"] for each in listed if "sha256" in each}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        yield Problem("croissant.json", f"cannot be read ({first_line(error)}); build again")
        return
    if found != {shard.path: shard.sha256 for shard in manifest.shards}:
        yield Problem("croissant.json", "its digests are not those of the manifest; build again")


@dataclass(frozen=True, slots=True)
class _Seen:
    """First occurrence, over all shards, of ids, pairs, and values that must stay in one split."""

    policy: Policy
    decode: bool  # whether to decode images
    ids: dict[str, str] = field(default_factory=dict)
    pairs: dict[tuple[str, str], str] = field(default_factory=dict)
    splits: dict[tuple[str, ...], str] = field(default_factory=dict)
    """(reason, value) -> split, for images, groups and captions."""
    partners: dict[tuple[str, str, str], tuple[Shard, str]] = field(default_factory=dict)
    """(kind, id, id of the partner) -> shard and caption of a natural pair whose partner did not come yet"""
    images: dict[str, tuple[Shard, str]] = field(default_factory=dict)
    """by digest, shard and id of the first row with each image that was decoded"""
    features: dict[str, str] = field(default_factory=dict)


def _check_shards(
    folder: Path, manifest: Manifest, images: bool, progress: Progress
) -> Iterator[Problem]:
    listed = {shard.path for shard in manifest.shards}
    for path in sorted((folder / "data").rglob("*")):
        if path.is_file() and path.relative_to(folder).as_posix() not in listed:
            yield Problem(path.relative_to(folder).as_posix(), "is not in the manifest")
    seen = _Seen(resolve(manifest.config.policy), images)
    done = 0

    def report(rows: int) -> None:
        stage = "decoding images" if images else "checking rows"
        progress(stage, done + rows, manifest.records.kept)

    for shard in manifest.shards:
        path = folder / shard.path
        if damage := _damage(path, manifest, shard):
            yield Problem(shard.path, damage)
        else:
            if flaw := shard_file.file_flaw(path, shard.bytes):
                yield Problem(shard.path, flaw)
            yield from _check_rows(path, manifest, shard, seen, report)
        done += shard.rows
    report(0)
    for (kind, id, partner), (shard, _) in seen.partners.items():
        yield Problem(shard.path, f"{id}: its {kind} pair {partner!r} does not list it")
    for near in find_near_images(seen.features):
        if seen.policy[f"{near.kind}_image_in_other_split"] != "keep":
            yield from _near_leaks(seen.images, near)


def _damage(path: Path, manifest: Manifest, shard: Shard) -> str:
    """Return what is wrong with a shard as a whole, or an empty text."""
    if flaw := shard_file.file_flaw(path):
        return f"{flaw}; build again"
    try:
        if sha256_of(path) != shard.sha256:
            return "does not match its sha256 in the manifest; build again"
        columns = shard_file.read_schema(path)
        return shard_file.schema_flaw(columns, manifest.categories, manifest.columns)
    except UNREADABLE as error:
        return f"cannot be read ({first_line(error)}); build again"


def _check_rows(
    path: Path, manifest: Manifest, shard: Shard, seen: _Seen, report: Callable[[int], None]
) -> Iterator[Problem]:
    first = 0
    try:
        for batch in shard_file.read_batches(path):
            report(first)
            flaws = shard_file.row_flaws(batch, len(manifest.categories), shard.domain)
            for flaw in flaws:
                yield Problem(f"{shard.path}: row {first + flaw.row}", flaw.what)
            flawed = {flaw.row for flaw in flaws}
            for index, row in enumerate(batch.to_pylist()):
                if index not in flawed:
                    for problem in _flaws(row, manifest, shard, seen):
                        yield Problem(f"{shard.path}: row {first + index}", problem)
            first += batch.num_rows
    except UNREADABLE as error:
        yield Problem(shard.path, f"cannot be read ({first_line(error)}); build again")
        return
    if first != shard.rows:
        yield Problem(shard.path, f"has {first} rows, the manifest says {shard.rows}")


def _flaws(row: dict[str, Any], manifest: Manifest, shard: Shard, seen: _Seen) -> Iterator[str]:
    image = row.pop("image")["bytes"]
    row["category"] = category_name(row["category"], manifest.categories)
    record = {
        **{name: value for name, value in row.items() if name in KNOWN_COLUMNS},
        "image": {"path": row["source"]["file"], "member": ""},
        "split": shard.split,
        "rules": [],
        "extra": extra_of(row),
    }
    for error in schema("record").iter_errors(record):
        yield f"{error.json_path}: {error.message}"
    digest = row["source"]["sha256"]
    if hashlib.sha256(image).hexdigest() != digest:
        yield f"{row['id']}: the image does not match its digest"
    elif seen.decode and digest not in seen.images:
        seen.images[digest] = shard, row["id"]
        check = check_image_bytes(image, manifest.config.max_pixels)
        seen.features[digest] = check.features
        if check.reason:
            yield f"{row['id']}: {check.reason}: {check.detail}"
    for flaw in _row_flaws(row, shard, seen):
        yield f"{row['id']}: {flaw}"


def _row_flaws(row: dict[str, Any], shard: Shard, seen: _Seen) -> Iterator[str]:
    sha256, caption = row["source"]["sha256"], row["caption"].casefold()
    if row["id"] in seen.ids:
        yield f"the same id is in {seen.ids[row['id']]}"
    seen.ids[row["id"]] = shard.path
    pair = (sha256, caption)
    if pair in seen.pairs and seen.policy["duplicate_pair"] != "keep":
        yield f"the same image and caption as {seen.pairs[pair]}"
    seen.pairs[pair] = row["id"]
    belongs: dict[tuple[str, ...], str] = {
        ("image_in_other_split", sha256): "image",
        ("caption_in_other_split", caption): "caption",
    }
    if row["group"].startswith(CLUSTER):
        if seen.policy["mirrored_image_in_other_split"] != "keep":  # else they may share the group
            belongs["near_image_in_other_split", row["group"]] = "group of near-duplicate images"
    elif row["group"] != sha256[:16]:  # given by the source
        belongs["group_in_other_split", row["domain"], row["group"]] = "group"
    for key, value in belongs.items():
        if seen.policy[key[0]] != "keep":
            split = seen.splits.setdefault(key, shard.split)
            if split != shard.split:
                yield f"its {value} is also in {split}"
    for attribute in row["attributes"]:
        if row["caption"][attribute["start"] : attribute["end"]] != attribute["value"]:
            yield f"the attribute {attribute['value']!r} is not at its place in the caption"
    captions = [negative["caption"] for negative in row["negatives"]]
    if row["caption"] in captions:
        yield "a negative equals the caption"
    if len(set(captions)) < len(captions):
        yield "a negative is repeated"
    for each in row["natural_pairs"]:
        kind, partner = each["kind"], each["id"]
        key = (kind, partner, row["id"])
        if key not in seen.partners:
            seen.partners[kind, row["id"], partner] = shard, row["caption"]
            continue
        other, caption = seen.partners.pop(key)
        if (other.domain, other.split) != (shard.domain, shard.split):
            yield f"its {kind} pair {partner!r} is in {other.split} of {other.domain}"
        elif caption == row["caption"]:
            yield f"its {kind} pair {partner!r} has the same caption"


def _near_leaks(rows: dict[str, tuple[Shard, str]], near: NearImages[str]) -> Iterator[Problem]:
    """Yield each image that resembles one of another split, or mirrors it, with the first such image."""
    images: dict[int, list[str]] = {}
    for digest in sorted(near.node):
        images.setdefault(near.node[digest], []).append(digest)
    for digest in sorted(near.node):
        shard, id = rows[digest]
        nodes = near.neighbors[near.node[digest]]
        others = (rows[other] for node in nodes for other in images[node])
        leaks = (f"{name} in {other.split}" for other, name in others if other.split != shard.split)
        if leak := next(leaks, None):
            copy = f"{_COPIES[near.kind]} of {leak}"
            yield Problem(shard.path, f"{id}: its image is a {copy}")
