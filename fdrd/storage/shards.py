"""Turn records into rows, assign them to shards by a stable key, and write shards in workers.

Rows are sorted by `pair_table.sort_key`, and each shard holds a fixed range of that order. A changed image
changes its own shard only. A changed caption also changes the catalog that negatives are drawn from, and
with it all shards of its domain.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
import pyarrow as pa
from msgspec.structs import replace

from fdrd.columns import ExtraTypes, arrow_schema, extra_of, extra_row, struct_schema
from fdrd.curation.pair_table import Integers, PairTable
from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_write, sha256_of
from fdrd.files.struct_table import parse_rows, read_table
from fdrd.images.check import read_image
from fdrd.images.containers import member_name
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


def make_rows(
    records: Iterable[Record], labels: Labels, extra: ExtraTypes, *, named: bool
) -> pa.RecordBatch:
    """Return the rows of records, waiting for their images; `named`: with the column that only Parquet has."""
    names = sorted(labels.values())
    index = {label: position for position, label in enumerate(names)}
    lines = []
    for record in records:
        row = msgspec.to_builtins(record)
        for column in ("split", "rules", "extra"):
            del row[column]
        for negative in row["negatives"]:
            category = negative["category"]
            negative["category"] = labels.get((record.domain, category), category)
        row["category"] = index.get(labels.get((record.domain, record.category), ""))
        image = record.image
        row["image"] = {"path": member_name(image.member) or image.path.rpartition("/")[2]}
        row |= extra_row(record.extra, extra)
        size = text_bytes(encode_row(row))
        if named:
            row = with_name(row, names)
        lines.append(encode_row({**row, FILE: image, SIZE: size}))
    schema = named_images(arrow_schema(names, extra, named=named))
    schema = schema.append(pa.field(FILE, pa.struct(struct_schema(ImageRef))))
    (batch,) = parse_rows(lines, schema.append(pa.field(SIZE, pa.int64()))).to_batches()
    return batch


def text_bytes(text: bytes) -> int:
    """Return the approximate size of a row without its image bytes."""
    return len(msgspec.json.format(text, indent=0))


def plan_shards(pairs: PairTable, shard_bytes: int, format: str) -> list[tuple[Shard, Integers]]:
    """Return shards of the kept pairs with about `shard_bytes` image bytes, ordered by domain, split and index.

    Each is a manifest entry without key, size and digest, with its rows of the table in order.
    """
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
            entry = Shard(path, domain, cast("SplitName", split), len(part), 0, "", "", {})
            plans.append((entry, part))
    return plans


ShardTask = tuple[Shard, str]
"""A manifest entry without size and digest, and the Arrow file of the rows, which wait for their images."""


def write_shard(task: ShardTask, folder: str, root: str, serialized: bytes) -> Shard:
    """Write one shard below `folder`, with images below `root`, and return its complete manifest entry.

    `serialized` is the Arrow schema. Raise `FdrdError` if an image has changed, or this machine does not see the rows.
    """
    entry, rows = task
    final = Path(folder, entry.path)
    schema = pa.ipc.read_schema(pa.py_buffer(serialized))
    format = final.suffix.removeprefix(".")
    with atomic_write(final) as file, open_shard(file, schema, format) as write:
        for batch, images in _batches(read_table(rows), root):
            write(batch, images)
    return replace(entry, bytes=final.stat().st_size, sha256=sha256_of(final))


def read_records(folder: Path, manifest: Manifest) -> Iterator[Record]:
    """Yield the records of a built dataset in shard order, without image bytes, or raise `DamageError`."""
    for shard in manifest.shards:
        for batch in read_checked(folder / shard.path, shard, manifest, images=False):
            for row in batch.to_pylist():
                row["extra"] = extra_of(row)
                row["category"] = category_name(row["category"], manifest.categories)
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
