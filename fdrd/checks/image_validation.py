"""Decodes the images of a built dataset again: each must be one, and none may look like one of another split.

`fdrd.checks.validation` compares digests and decodes nothing; this takes about as long as the examining in a build.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fdrd.checks.validation import Problem
from fdrd.curation.near_duplicates import NearImages, find_near
from fdrd.files.atomic import sha256_of
from fdrd.images.check import examine_bytes
from fdrd.policy import resolve
from fdrd.progress import Progress, silent
from fdrd.storage.manifest import read_manifest
from fdrd.storage.shard_file import read_batches


@dataclass(frozen=True, slots=True)
class _Row:
    """Where an image was first found."""

    id: str
    split: str
    place: str


def validate_images(folder: Path, progress: Progress = silent) -> Iterator[Problem]:
    """Yields a problem for every image that does not decode, or looks like one of another split.

    Damaged shards are passed over: `validate` names them. A leak that the policy of the build keeps is none.

    Raises:
        FdrdError: there is no valid manifest.
    """
    manifest = read_manifest(folder)
    rows: dict[str, _Row] = {}
    look_of: dict[str, str] = {}
    done = 0
    for shard in manifest["shards"]:
        path = folder / shard["path"]
        whole = path.is_file() and sha256_of(path) == shard["sha256"]
        for batch in read_batches(path) if whole else ():
            for row in batch.select(["id", "image", "source"]).to_pylist():
                digest = row["source"]["sha256"]
                if digest in rows:
                    continue
                rows[digest] = _Row(row["id"], shard["split"], shard["path"])
                found = examine_bytes(row["image"]["bytes"], manifest["config"]["max_pixels"])
                if found.reason:
                    yield Problem(shard["path"], f"{row['id']}: {found.reason}: {found.detail}")
                look_of[digest] = found.look
            done += batch.num_rows
            progress("decoding images", done, manifest["records"]["kept"])
    if resolve(manifest["config"]["policy"])["near_image_in_other_split"] != "keep":
        yield from _leaks(rows, find_near(look_of))


def _leaks(rows: dict[str, _Row], near: NearImages) -> Iterator[Problem]:
    """A problem for each image that looks like one of another split, with the first such."""
    images: dict[int, list[str]] = {}
    for digest in sorted(near.look):
        images.setdefault(near.look[digest], []).append(digest)
    for digest in sorted(near.look):
        row = rows[digest]
        others = (rows[other] for look in near.alike[near.look[digest]] for other in images[look])
        leak = next((other for other in others if other.split != row.split), None)
        if leak:
            yield Problem(
                row.place, f"{row.id}: its image looks like that of {leak.id} in {leak.split}"
            )
