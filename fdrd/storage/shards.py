"""Assign rows to shards by a stable key, and write shards in worker processes.

Rows are sorted by `pair_table.sort_key`, and each shard holds a fixed range of that order. A changed image
changes its own shard only. A changed caption also changes the catalog that negatives are drawn from, and
with it all shards of its domain.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from fdrd.columns import extra_of
from fdrd.curation.pair_table import Integers, PairTable
from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_write, sha256_of
from fdrd.files.struct_file import StructRange
from fdrd.images.check import read_image
from fdrd.record import Record, Split, category_name, from_json
from fdrd.storage.checked_shards import read_checked
from fdrd.storage.json_rows import JsonRow
from fdrd.storage.shard_file import open_shard

BATCH_BYTES = 32 * 2**20
"""Maximum size of a record batch. It bounds the memory of workers and of readers."""
BATCH_ROWS = 1000
"""Maximum rows of a record batch: the default of `datasets`, fast for random access."""


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """A shard to be written: its path inside the dataset folder, and its rows of the table in order."""

    path: str
    domain: str
    split: Split
    rows: Integers


@dataclass(frozen=True, slots=True)
class ShardTask:
    """Everything that a worker needs to write one shard.

    `schema` is a serialized Arrow schema, `rules` counts the fixes of given negatives.
    """

    path: str
    domain: str
    split: Split
    rows: StructRange[JsonRow]
    rules: Mapping[str, int]
    key: str
    folder: str
    schema: bytes


def plan_shards(pairs: PairTable, shard_bytes: int, format: str = "arrow") -> list[ShardPlan]:
    """Return shards of about `shard_bytes` image bytes, ordered by domain, split and number.

    Args:
        pairs: the kept ones are planned.
        shard_bytes: wanted size of a shard.
        format: extension of the files.
    """
    plans = []
    for (domain, split), rows in pairs.by_split().items():
        rows = rows[np.lexsort((pairs.order[1, rows], pairs.order[0, rows]))]
        total = int(pairs.images.sizes[pairs.digest[rows]].sum())
        count = max(1, -(-total // shard_bytes))
        begins = [-(-(part << 60) // count) << 4 for part in range(1, count)]
        places = np.searchsorted(pairs.order[0, rows], np.array(begins, np.uint64))
        parts = [part for part in np.split(rows, places) if len(part)]
        for number, part in enumerate(parts):
            path = f"data/{domain}/{split}-{number:05d}-of-{len(parts):05d}.{format}"
            plans.append(ShardPlan(path, domain, split, part))
    return plans


def start_key(plan: ShardPlan, *settings: Any) -> hashlib._Hash:
    """Return a digest of all but the records of a shard; `settings` must be JSON.

    With the records (`add_to_key`) it is the key of the shard, which everything that determines its bytes changes.
    """
    return hashlib.sha256(json.dumps([plan.path, *settings], sort_keys=True).encode())


def add_to_key(digest: hashlib._Hash, record: Record) -> None:
    """Add the next record of a shard to its digest."""
    digest.update(msgspec.json.encode(record))


def write_shard(task: ShardTask) -> dict[str, Any]:
    """Write one shard below `task.folder`, and return its manifest entry.

    Raises:
        FdrdError: an image changed since it was checked, or this machine does not see the rows.
    """
    final = Path(task.folder, task.path)
    schema = pa.ipc.read_schema(pa.py_buffer(task.schema))
    with (
        atomic_write(final) as file,
        open_shard(file, schema, final.suffix.removeprefix(".")) as write,
    ):
        for texts, images in _batches(task.rows):
            write(texts, images)
    return {
        "path": task.path,
        "domain": task.domain,
        "split": task.split,
        "rows": len(task.rows),
        "bytes": final.stat().st_size,
        "sha256": sha256_of(final),
        "key": task.key,
        "rules": dict(sorted(task.rules.items())),
    }


def read_records(folder: Path, manifest: Mapping[str, Any]) -> Iterator[Record]:
    """Yield the records of a built dataset in shard order, without image bytes.

    Raises:
        DamageError: a shard is missing or damaged.
    """
    for shard in manifest["shards"]:
        path, categories = folder / shard["path"], manifest["categories"]
        for batch in read_checked(path, shard, categories, images=False):
            for row in batch.to_pylist():
                row["category"] = category_name(row["category"], manifest["categories"])
                image = {"path": row["source"]["file"], "member": ""}
                extra = extra_of(row)
                yield from_json(
                    {**row, "image": image, "split": shard["split"], "rules": (), "extra": extra}
                )


def _batches(rows: Iterable[JsonRow]) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Yield batches of rows as JSON, and their images."""
    texts: list[bytes] = []
    images: list[bytes] = []
    size = 0
    for row in rows:
        data = _read_unchanged(row)
        row_size = len(data) + row.size
        if texts and (size + row_size > BATCH_BYTES or len(texts) >= BATCH_ROWS):
            yield texts, images
            texts, images, size = [], [], 0
        texts.append(row.text)
        images.append(data)
        size += row_size
    if texts:
        yield texts, images


def _read_unchanged(row: JsonRow) -> bytes:
    """Return the image bytes of a row, if they still match its digest."""
    image = row.image.image
    try:
        data = read_image(row.image.root, image)
    except (OSError, LookupError, ValueError) as error:
        raise FdrdError(
            f"{image}: was readable when it was checked, but is not now ({error}); "
            "run the command again to resume"
        ) from error
    if hashlib.sha256(data).hexdigest() != row.sha256:
        raise FdrdError(f"{image} changed during the build; run the command again")
    return data
