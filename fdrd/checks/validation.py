"""Check a built dataset against its manifest: digests, counts, spans, negatives, and leaks between splits.

Everything is read from the disk. Nothing that the builder remembers is trusted.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fdrd.columns import KNOWN_COLUMNS, extra_in_schema, extra_of
from fdrd.curation.leaks import CLUSTER
from fdrd.curation.near_duplicates import NearImages, find_near_images
from fdrd.errors import first_line
from fdrd.files.atomic import sha256_of
from fdrd.images.check import check_image_bytes
from fdrd.policy import Policy, resolve
from fdrd.progress import Progress, silent
from fdrd.reasons import REASONS, REVIEW_REASONS
from fdrd.record import category_name
from fdrd.storage.checked_shards import UNREADABLE, file_flaw, row_flaws, schema_flaw
from fdrd.storage.file_states import distrust
from fdrd.storage.manifest import read_manifest, schema
from fdrd.storage.manifest_types import Manifest, Shard
from fdrd.storage.shard_file import read_batches, read_schema


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
        *_check_shards(path, manifest, progress),
        *(validate_images(path, progress) if images else []),
    ]
    if problems:
        distrust(path)  # so that the next build finds damage that changed no time and no size
    return problems


def validate_images(folder: Path, progress: Progress = silent) -> list[Problem]:
    """Return a problem for every image that does not decode or resembles one of another split.

    Mirror images count, too. Damaged shards are skipped because `validate` reports them. Leaks that the
    policy keeps are no problem.

    Raises:
        FdrdError: there is no valid manifest.
    """
    manifest = read_manifest(folder)
    problems: list[Problem] = []
    rows: dict[str, _Row] = {}
    fingerprints: dict[str, str] = {}
    done = 0
    for shard in manifest.shards:
        for row in _rows_with_images(folder / shard.path, manifest, shard):
            digest = row["source"]["sha256"]
            if digest not in rows:
                rows[digest] = _Row(row["id"], shard.split, shard.path)
                found = check_image_bytes(row["image"]["bytes"], manifest.config.max_pixels)
                if found.reason:
                    what = f"{row['id']}: {found.reason}: {found.detail}"
                    problems.append(Problem(shard.path, what))
                fingerprints[digest] = found.features
            done += 1
            if done % 64 == 0:
                progress("decoding images", done, manifest.records.kept)
    progress("decoding images", manifest.records.kept, manifest.records.kept)
    policy = resolve(manifest.config.policy)
    for near in find_near_images(fingerprints):
        if policy[f"{near.kind}_image_in_other_split"] != "keep":
            problems += _near_leaks(rows, near)
    return problems


def _rows_with_images(path: Path, manifest: Manifest, shard: Shard) -> Iterator[dict[str, Any]]:
    """Yield id, image and source of the rows of an undamaged shard."""
    if _damage(path, manifest, shard):
        return
    with suppress(*UNREADABLE):
        for batch in read_batches(path):
            flawed = {flaw.row for flaw in row_flaws(batch, len(manifest.categories))}
            for number, row in enumerate(batch.select(["id", "image", "source"]).to_pylist()):
                if number not in flawed:
                    yield row


def _damage(path: Path, manifest: Manifest, shard: Shard) -> str:
    """Return what is wrong with a shard as a whole, or an empty text."""
    if flaw := file_flaw(path):
        return f"{flaw}; build again"
    try:
        if sha256_of(path) != shard.sha256:
            return "does not match its sha256 in the manifest; build again"
        found = read_schema(path)
        if flaw := schema_flaw(found, manifest.categories):
            return flaw
        if extra_in_schema(found) != manifest.columns:
            return "its extra columns are not those of the manifest"
        return ""
    except UNREADABLE as error:
        return f"cannot be read ({first_line(error)}); build again"


@dataclass(frozen=True, slots=True)
class _Row:
    """The first row that has an image."""

    id: str
    split: str
    place: str


@dataclass(frozen=True, slots=True)
class _Partner:
    """A record of a natural pair."""

    place: str
    domain: str
    split: str
    caption: str


@dataclass(frozen=True, slots=True)
class _Seen:
    """First occurrence, over all shards, of ids, pairs, and values that must stay in one split."""

    policy: Policy
    ids: dict[str, str] = field(default_factory=dict)
    pairs: dict[tuple[str, str], str] = field(default_factory=dict)
    splits: dict[tuple[str, ...], str] = field(default_factory=dict)
    """(reason, value) -> split, for images, groups and captions."""
    partners: dict[tuple[str, str, str], _Partner] = field(default_factory=dict)
    """(kind, id, id of the partner) -> record of a natural pair whose partner did not come yet"""


def _check_sums(folder: Path, manifest: Manifest) -> Iterator[Problem]:
    records = manifest.records
    if records.read != records.kept + records.rejected:
        yield Problem("manifest.json", "records read are not kept + rejected")
    for file, entry in manifest.files.items():
        if entry.read != entry.kept + sum(entry.rejected.values()):
            yield Problem("manifest.json", f"{file}: records read are not kept + rejected")
    totals = {
        "pairs": sum(
            split.pairs for splits in manifest.splits.values() for split in splits.values()
        ),
        "rows of the shards": sum(shard.rows for shard in manifest.shards),
        "kept by file": sum(entry.kept for entry in manifest.files.values()),
    }
    for what, total in totals.items():
        if total != records.kept:
            yield Problem("manifest.json", f"{what} add up to {total}, kept are {records.kept}")
    rejected = folder / "rejected.jsonl"
    text = rejected.read_text("utf-8", "replace") if rejected.is_file() else ""
    lines = text.splitlines()
    if len(lines) != records.rejected:
        what = f"has {len(lines)} lines, the manifest counts {records.rejected} rejected"
        yield Problem("rejected.jsonl", what)
    for number, line in enumerate(lines, 1):
        try:
            known = json.loads(line)["reason"] in REASONS | REVIEW_REASONS
        except (ValueError, KeyError, TypeError, RecursionError):
            known = False
        if not known:
            yield Problem("rejected.jsonl", f"line {number} is not a rejected record")


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


def _check_shards(folder: Path, manifest: Manifest, progress: Progress) -> Iterator[Problem]:
    listed = {shard.path for shard in manifest.shards}
    for path in sorted((folder / "data").rglob("*")):
        if path.is_file() and path.relative_to(folder).as_posix() not in listed:
            yield Problem(path.relative_to(folder).as_posix(), "is not in the manifest")
    seen = _Seen(resolve(manifest.config.policy))
    done = 0
    for shard in manifest.shards:
        path = folder / shard.path
        if damage := _damage(path, manifest, shard):
            yield Problem(shard.path, damage)
        else:
            if flaw := file_flaw(path, shard.bytes):
                yield Problem(shard.path, flaw)
            yield from _check_rows(path, manifest, shard, seen)
        done += shard.rows
        progress("checking rows", done, manifest.records.kept)
    for (kind, id, partner), one in seen.partners.items():
        yield Problem(one.place, f"{id}: its {kind} pair {partner!r} does not list it")


def _check_rows(path: Path, manifest: Manifest, shard: Shard, seen: _Seen) -> Iterator[Problem]:
    rows = 0
    try:
        for batch in read_batches(path):
            flaws = row_flaws(batch, len(manifest.categories), shard.domain)
            for flaw in flaws:
                yield Problem(f"{shard.path}: row {rows + flaw.row}", flaw.what)
            flawed = {flaw.row for flaw in flaws}
            for number, row in enumerate(batch.to_pylist(), rows):
                if number - rows not in flawed:
                    yield from _check_row(row, f"{shard.path}: row {number}", manifest, shard, seen)
            rows += batch.num_rows
    except UNREADABLE as error:
        yield Problem(shard.path, f"cannot be read ({first_line(error)}); build again")
        return
    if rows != shard.rows:
        yield Problem(shard.path, f"has {rows} rows, the manifest says {shard.rows}")


def _check_row(
    row: dict[str, Any], place: str, manifest: Manifest, shard: Shard, seen: _Seen
) -> Iterator[Problem]:
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
        yield Problem(place, f"{error.json_path}: {error.message}")
    for what in _flaws(row, image, shard, seen):
        yield Problem(place, f"{row['id']}: {what}")


def _flaws(row: dict[str, Any], image: bytes, shard: Shard, seen: _Seen) -> Iterator[str]:
    sha256 = row["source"]["sha256"]
    if hashlib.sha256(image).hexdigest() != sha256:
        yield "the image does not match its digest"
    if row["id"] in seen.ids:
        yield f"the same id is in {seen.ids[row['id']]}"
    seen.ids[row["id"]] = shard.path
    pair = (sha256, row["caption"].casefold())
    if pair in seen.pairs and seen.policy["duplicate_pair"] != "keep":
        yield f"the same image and caption as {seen.pairs[pair]}"
    seen.pairs[pair] = row["id"]
    belongs: dict[tuple[str, ...], str] = {
        ("image_in_other_split", sha256): "image",
        ("caption_in_other_split", row["caption"].casefold()): "caption",
    }
    if row["group"].startswith(CLUSTER):
        if seen.policy["mirrored_image_in_other_split"] != "keep":  # else they may share the group
            belongs["near_image_in_other_split", row["group"]] = "group of near-duplicate images"
    elif row["group"] != sha256[:16]:  # given by the source
        belongs["group_in_other_split", row["domain"], row["group"]] = "group"
    for key, what in belongs.items():
        if seen.policy[key[0]] == "keep":
            continue
        split = seen.splits.setdefault(key, shard.split)
        if split != shard.split:
            yield f"its {what} is also in {split}"
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
        one = _Partner(shard.path, shard.domain, shard.split, row["caption"])
        other = seen.partners.pop((kind, partner, row["id"]), None)
        if other is None:
            seen.partners[kind, row["id"], partner] = one
        elif (other.domain, other.split) != (one.domain, one.split):
            yield f"its {kind} pair {partner!r} is in {other.split} of {other.domain}"
        elif other.caption == one.caption:
            yield f"its {kind} pair {partner!r} has the same caption"


def _near_leaks(rows: dict[str, _Row], near: NearImages[str]) -> Iterator[Problem]:
    """Yield each image that resembles one of another split, or mirrors it, with the first such image."""
    images: dict[int, list[str]] = {}
    for digest in sorted(near.node):
        images.setdefault(near.node[digest], []).append(digest)
    for digest in sorted(near.node):
        row = rows[digest]
        others = (
            rows[other] for look in near.neighbors[near.node[digest]] for other in images[look]
        )
        leak = next((other for other in others if other.split != row.split), None)
        if leak:
            copy = {"near": "near duplicate", "mirrored": "mirrored or turned copy"}[near.kind]
            what = f"{row.id}: its image is a {copy} of {leak.id} in {leak.split}"
            yield Problem(row.place, what)
