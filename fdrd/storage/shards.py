"""Assign rows to shards by a stable key, and write shards in worker processes.

Rows are sorted by `pair_table.sort_key`, and each shard holds a fixed range of that order. A changed image
changes its own shard only. A changed caption also changes the catalog that negatives are drawn from, and
with it all shards of its domain.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from fdrd.curation.pair_table import Integers, PairTable
from fdrd.curation.source_contents import ImageLocation
from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_write, sha256_of
from fdrd.files.struct_file import StructRange
from fdrd.images.check import read_image
from fdrd.images.containers import member_name
from fdrd.negatives import Catalog
from fdrd.negatives.annotate import AnnotateConfig, annotate
from fdrd.record import Labels, Record, Split, category_name, from_json, to_json
from fdrd.storage.shard_file import open_shard, read_batches

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


class ShardRow(msgspec.Struct, frozen=True, gc=False):
    """A record of a shard, and what a worker needs to know about its image.

    `captions` has all true texts of the image if it has more than one. `place` is empty for an image below
    the root.
    """

    record: Record
    captions: tuple[str, ...] = ()
    place: ImageLocation | None = None


@dataclass(frozen=True, slots=True)
class ShardTask:
    """Everything that a worker needs to write one shard. `schema` is a serialized Arrow schema."""

    path: str
    domain: str
    split: Split
    rows: StructRange[ShardRow]
    key: str
    root: str
    folder: str
    schema: bytes
    labels: Labels
    config: AnnotateConfig


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


def write_shard(
    task: ShardTask, catalogs: Mapping[str, Catalog], count: Callable[[Record], None]
) -> dict[str, Any]:
    """Annotate and write one shard below `task.folder`, and return its manifest entry.

    Args:
        task: the shard.
        catalogs: by domain, the captions that negatives are drawn from.
        count: called with each record as written.

    Raises:
        FdrdError: an image changed since it was checked, or this machine does not see the records.
    """
    final = Path(task.folder, task.path)
    schema = pa.ipc.read_schema(pa.py_buffer(task.schema))
    rules: Counter[str] = Counter()
    with (
        atomic_write(final) as file,
        open_shard(file, schema, final.suffix.removeprefix(".")) as write,
    ):
        for batch in _batches(task, catalogs[task.domain], rules, count):
            write(batch)
    return {
        "path": task.path,
        "domain": task.domain,
        "split": task.split,
        "rows": len(task.rows),
        "bytes": final.stat().st_size,
        "sha256": sha256_of(final),
        "key": task.key,
        "rules": dict(sorted(rules.items())),
    }


def read_records(folder: Path, manifest: Mapping[str, Any]) -> Iterator[Record]:
    """Yield the records of a built dataset in shard order, without image bytes."""
    for shard in manifest["shards"]:
        for batch in read_batches(folder / shard["path"], images=False):
            for row in batch.to_pylist():
                row["category"] = category_name(row["category"], manifest["categories"])
                image = {"path": row["source"]["file"], "member": ""}
                yield from_json({**row, "image": image, "split": shard["split"], "rules": ()})


def _batches(
    task: ShardTask, catalog: Catalog, rules: Counter[str], count: Callable[[Record], None]
) -> Iterator[list[dict[str, Any]]]:
    """Yield batches of rows with image bytes, and count the rules that annotation applied."""
    number = {label: index for index, label in enumerate(sorted(task.labels.values()))}
    batch: list[dict[str, Any]] = []
    size = 0
    for given in task.rows:
        record = given.record
        annotated = annotate(record, given.captions or (record.caption,), catalog, task.config)
        rules.update(annotated.rules[len(record.rules) :])
        count(annotated)
        data = _read_unchanged(given.place or ImageLocation(task.root, record.image), record)
        row = _row(annotated, task.labels)
        row["category"] = number.get(task.labels.get((record.domain, record.category), ""))
        name = member_name(record.image.member) or record.image.path.rpartition("/")[2]
        row["image"] = {"bytes": data, "path": name}
        row_size = len(data) + text_bytes(row)
        if batch and (size + row_size > BATCH_BYTES or len(batch) >= BATCH_ROWS):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += row_size
    if batch:
        yield batch


def text_bytes(row: Mapping[str, Any]) -> int:
    """Return the approximate size of a row without its image bytes."""
    text = {**row, "image": row["image"]["path"]}
    return len(msgspec.json.format(msgspec.json.encode(text), indent=0))


def _read_unchanged(place: ImageLocation, record: Record) -> bytes:
    """Return the image bytes of a record, if they still match its digest."""
    try:
        data = read_image(place.root, place.image)
    except (OSError, LookupError, ValueError) as error:
        raise FdrdError(
            f"{record.image}: was readable when it was checked, but is not now ({error}); "
            "run the command again to resume"
        ) from error
    if hashlib.sha256(data).hexdigest() != record.source.sha256:
        raise FdrdError(f"{record.image} changed during the build; run the command again")
    return data


def _row(record: Record, labels: Labels) -> dict[str, Any]:
    """Return the columns of `fdrd.columns.features` except the image; negatives use class labels."""
    row = to_json(record)
    for column in ("split", "rules"):  # the shard has the split, the manifest counts the rules
        del row[column]
    for negative in row["negatives"]:
        named = (record.domain, negative["category"])
        negative["category"] = labels.get(named, negative["category"])
    return row
