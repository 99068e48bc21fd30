"""Turn records into rows with hard negatives, assign them to shards by a stable key, and write shards in workers.

Rows are sorted by `pair_table.sort_key`, and each shard holds a fixed range of that order. A changed image
changes its own shard only. A changed caption also changes the catalog that negatives are drawn from, and
with it all shards of its domain.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pyarrow as pa

from fdrd.build_config import BuildConfig
from fdrd.columns import ExtraTypes, arrow_schema, extra_of, extra_row, struct_schema
from fdrd.curation.pair_table import Integers, PairTable
from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_write, sha256_of
from fdrd.files.struct_table import StructTable, parse_rows, read_table
from fdrd.images.check import read_image
from fdrd.images.containers import member_name
from fdrd.negatives import Catalog
from fdrd.negatives.draw import annotate
from fdrd.record import ImageRef, Labels, Record, category_name, from_json
from fdrd.storage.manifest import Manifest, Shard, SplitName
from fdrd.storage.shard_file import encode_row, named_images, open_shard, read_checked, with_name

BATCH_BYTES = 32 * 2**20
"""Maximum size of a record batch. It bounds the memory of workers and of readers."""
BATCH_ROWS = 1000
"""Maximum rows of a record batch: the default of `datasets`, fast for random access."""
FILE, SIZE = "image file", "row size"
"""Columns of rows that wait for their image: where it is, and the approximate bytes of the row without it.

With a space, unlike the name of any extra column.
"""


@dataclass(frozen=True, slots=True)
class RowsTask:
    """Some neighboring records of a shard; `named` if the file has a column with the names of categories."""

    domain: str
    records: StructTable[Record]
    labels: Labels
    named: bool
    config: BuildConfig
    extra: ExtraTypes


def make_rows(
    task: RowsTask,
    catalogs: Mapping[str, Catalog],
    true_texts: Callable[[Record], Container[str]],
    count: Callable[[Record], None],
) -> tuple[pa.RecordBatch, Counter[str]]:
    """Return the rows of a task, waiting for their images, and how often each rule fixed or dropped a given negative.

    `catalogs` are, by domain, the captions that negatives are drawn from. `true_texts` returns the true texts of the
    image of a record, as `annotate` needs them. `count` is called with each record as written. Raise `FdrdError` if
    this machine does not see the records.
    """
    names = sorted(task.labels.values())
    index = {label: position for position, label in enumerate(names)}
    rules: Counter[str] = Counter()
    lines = []
    records = list(task.records)
    annotated = annotate(
        records, list(map(true_texts, records)), catalogs[task.domain], task.config
    )
    for before, record in zip(records, annotated, strict=True):
        rules.update(record.rules[len(before.rules) :])
        count(record)
        row = msgspec.to_builtins(record)
        for column in ("split", "rules", "extra"):
            del row[column]
        for negative in row["negatives"]:
            named = (record.domain, negative["category"])
            negative["category"] = task.labels.get(named, negative["category"])
        row["category"] = index.get(task.labels.get((record.domain, record.category), ""))
        image = record.image
        row["image"] = {"path": member_name(image.member) or image.path.rpartition("/")[2]}
        row |= extra_row(record.extra, task.extra)
        size = text_bytes(encode_row(row))
        if task.named:
            row = with_name(row, names)
        lines.append(encode_row({**row, FILE: image, SIZE: size}))
    schema = named_images(arrow_schema(names, task.extra, named=task.named))
    schema = schema.append(pa.field(FILE, pa.struct(struct_schema(ImageRef))))
    (batch,) = parse_rows(lines, schema.append(pa.field(SIZE, pa.int64()))).to_batches()
    return batch, rules


def text_bytes(text: bytes) -> int:
    """Return the approximate size of a row without its image bytes."""
    return len(msgspec.json.format(text, indent=0))


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """A shard to be written: its path inside the dataset folder, and its rows of the table in order."""

    path: str
    domain: str
    split: SplitName
    rows: Integers


@dataclass(frozen=True, slots=True)
class ShardTask:
    """Everything that a worker needs to write the shard `path` in the stage folder `folder`.

    `rows` is an Arrow file of its rows, which wait for their images below `root`. `rules` counts the fixes of given
    negatives, and `schema` is the serialized Arrow schema.
    """

    path: str
    domain: str
    split: SplitName
    rows: str
    root: str
    rules: Mapping[str, int]
    key: str
    folder: str
    schema: bytes


def plan_shards(pairs: PairTable, shard_bytes: int, format: str) -> list[ShardPlan]:
    """Return shards of the kept pairs with about `shard_bytes` image bytes, ordered by domain, split and index."""
    plans = []
    for (domain, split), rows in pairs.by_split().items():
        rows = rows[np.lexsort((pairs["then_order"][rows], pairs["order"][rows]))]
        total = int(pairs.images.sizes[pairs["digest"][rows]].sum())
        count = max(1, -(-total // shard_bytes))
        begins = [-(-(part << 60) // count) << 4 for part in range(1, count)]
        starts = np.searchsorted(pairs["order"][rows], np.array(begins, np.uint64))
        parts = [part for part in np.split(rows, starts) if len(part)]
        for index, part in enumerate(parts):
            path = f"data/{domain}/{split}-{index:05d}-of-{len(parts):05d}.{format}"
            plans.append(ShardPlan(path, domain, cast("SplitName", split), part))
    return plans


def start_key(plan: ShardPlan, *settings: Any) -> hashlib._Hash:
    """Return a digest of all that determines a shard but its records; with their JSON it is the key of the shard."""
    return hashlib.sha256(json.dumps([plan.path, *settings], sort_keys=True).encode())


def write_shard(task: ShardTask) -> Shard:
    """Write one shard below `task.folder`, and return its manifest entry. Raise `FdrdError` if an image has changed."""
    final = Path(task.folder, task.path)
    schema = pa.ipc.read_schema(pa.py_buffer(task.schema))
    format = final.suffix.removeprefix(".")
    with atomic_write(final) as file, open_shard(file, schema, format) as write:
        rows = read_table(task.rows)
        for batch, images in _batches(rows, task.root):
            write(batch, images)
    return Shard(
        path=task.path,
        domain=task.domain,
        split=task.split,
        rows=rows.num_rows,
        bytes=final.stat().st_size,
        sha256=sha256_of(final),
        key=task.key,
        rules=dict(sorted(task.rules.items())),
    )


def read_records(folder: Path, manifest: Manifest) -> Iterator[Record]:
    """Yield the records of a built dataset in shard order, without image bytes, or raise `DamageError`."""
    categories, extra = manifest.categories, manifest.columns
    for shard in manifest.shards:
        for batch in read_checked(folder / shard.path, shard, categories, extra, images=False):
            for row in batch.to_pylist():
                row["extra"] = extra_of(row)
                row["category"] = category_name(row["category"], categories)
                row["image"] = {"path": row["source"]["file"], "member": ""}
                yield from_json({**row, "split": shard.split, "rules": ()})


def _batches(rows: pa.Table, root: str) -> Iterator[tuple[pa.Table, list[bytes]]]:
    files = msgspec.convert(rows[FILE].to_pylist(), list[ImageRef])
    digests = (source["sha256"] for source in rows["source"].to_pylist())
    sizes = rows[SIZE].to_pylist()
    rows = rows.drop_columns([FILE, SIZE])
    images: list[bytes] = []
    start = size = 0
    for row, (file, digest) in enumerate(zip(files, digests, strict=True)):
        data = _read_unchanged(root, file, digest)
        row_size = len(data) + sizes[row]
        if images and (size + row_size > BATCH_BYTES or len(images) >= BATCH_ROWS):
            yield rows.slice(start, len(images)), images
            start, images, size = row, [], 0
        images.append(data)
        size += row_size
    if images:
        yield rows.slice(start), images


def _read_unchanged(root: str, image: ImageRef, sha256: str) -> bytes:
    """Return the bytes of an image. Raise `FdrdError` if they no longer have this digest."""
    try:
        data = read_image(root, image)
    except (OSError, LookupError, ValueError) as error:
        raise FdrdError(
            f"{image}: was readable when it was checked, but is not now ({error}); "
            "run the command again to resume"
        ) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise FdrdError(f"{image} changed during the build; run the command again")
    return data
