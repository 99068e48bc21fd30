"""Arrow shards: rows planned over files by a stable key, annotated and written by worker processes.

A shard is an Arrow IPC stream, as the cache of `datasets` reads it. Its rows are sorted by `split.order`,
and a shard holds a fixed range of that order. A changed image changes its own shard; a changed caption also changes the
catalogue that negatives are drawn from, and with it the shards of its domain.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from fdrd.annotate import AnnotateConfig, annotate
from fdrd.atomic import replacing
from fdrd.error import FdrdError
from fdrd.images import Examined, read_image
from fdrd.members import member_name
from fdrd.negatives import Catalogue
from fdrd.record import ImageRef, Labels, Record, Split, from_json, to_json
from fdrd.split import order

BATCH_BYTES = 32 * 2**20  # of images in a record batch: bounds the memory of a worker
BATCH_ROWS = 1000  # what `datasets` writes, and fast for random access


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """A shard to be: its place below the dataset's folder, and the records in it, in order."""

    path: str
    domain: str
    split: Split
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class ShardTask:
    """All that a worker needs to write one shard. `schema` is a serialised Arrow schema."""

    plan: ShardPlan
    key: str
    root: str
    folder: str
    schema: bytes
    labels: Labels
    several_captions: dict[str, tuple[str, ...]]
    """By image digest, the captions of images that have more than one."""
    config: AnnotateConfig


def plan_shards(
    records: Iterable[Record], examined: Mapping[ImageRef, Examined], shard_bytes: int
) -> list[ShardPlan]:
    """Shards of about `shard_bytes` of images per domain and split, in the order domain, split, number."""
    rows: dict[tuple[str, Split], list[tuple[str, Record]]] = defaultdict(list)
    for record in records:
        rows[record.domain, record.split].append((order(record), record))
    plans = []
    for (domain, split), found in sorted(rows.items()):
        total = sum(examined[record.image].bytes for _, record in found)
        ranges: dict[int, list[tuple[str, Record]]] = defaultdict(list)
        count = max(1, -(-total // shard_bytes))
        for key, record in found:
            ranges[int(key[:15], 16) * count >> 60].append((key, record))
        parts = [
            tuple(record for _, record in sorted(ranges[part], key=lambda row: row[0]))
            for part in sorted(ranges)
        ]
        for number, part in enumerate(parts):
            path = f"data/{domain}/{split}-{number:05d}-of-{len(parts):05d}.arrow"
            plans.append(ShardPlan(path, domain, split, part))
    return plans


def shard_key(plan: ShardPlan, *settings: Any) -> str:
    """Digest of all that determines the bytes of a shard; `settings` must have a stable JSON form."""
    digest = hashlib.sha256(json.dumps([plan.path, *settings], sort_keys=True).encode())
    for record in plan.records:
        digest.update(json.dumps(to_json(record), ensure_ascii=False).encode())
    return digest.hexdigest()


def write_shard(task: ShardTask, catalogues: Mapping[str, Catalogue]) -> dict[str, Any]:
    """Annotates and writes one shard below `task.folder`; returns its entry for the manifest.

    The file gets its name once it is whole and on the disk.

    Args:
        task: the shard.
        catalogues: by domain.

    Raises:
        FdrdError: an image changed since it was examined.
    """
    final = Path(task.folder, task.plan.path)
    schema = pa.ipc.read_schema(pa.py_buffer(task.schema))
    rules: Counter[str] = Counter()
    written = 0
    with replacing(final) as file, pa.ipc.new_stream(file, schema) as stream:
        for batch in _batches(task, catalogues[task.plan.domain], rules):
            table = pa.Table.from_pylist(batch, schema=schema)
            for piece in table.to_batches():
                stream.write_batch(piece)
            written += len(batch)
    with final.open("rb") as shard:
        sha256 = hashlib.file_digest(shard, "sha256").hexdigest()
    return {
        "path": task.plan.path,
        "domain": task.plan.domain,
        "split": task.plan.split,
        "rows": written,
        "bytes": final.stat().st_size,
        "sha256": sha256,
        "key": task.key,
        "rules": dict(sorted(rules.items())),
    }


def read_records(folder: Path, manifest: Mapping[str, Any]) -> Iterator[Record]:
    """The records of a built dataset in the order of its shards, without their images' bytes."""
    for shard in manifest["shards"]:
        with pa.memory_map(str(folder / shard["path"])) as file, pa.ipc.open_stream(file) as stream:
            for batch in stream:
                for row in batch.drop_columns(["image"]).to_pylist():
                    row["category"] = manifest["categories"][row["category"]]
                    image = {"path": row["source"]["file"], "member": ""}
                    yield from_json({**row, "image": image, "split": shard["split"], "rules": ()})


def _batches(
    task: ShardTask, catalogue: Catalogue, rules: Counter[str]
) -> Iterator[list[dict[str, Any]]]:
    """Rows with image bytes, a batch at a time; counts the rules that annotating applied."""
    number = {label: index for index, label in enumerate(sorted(task.labels.values()))}
    batch: list[dict[str, Any]] = []
    size = 0
    for record in task.plan.records:
        captions = task.several_captions.get(record.source.sha256, (record.caption,))
        annotated = annotate(record, captions, catalogue, task.config)
        rules.update(annotated.rules[len(record.rules) :])
        data = read_image(task.root, record.image)
        if hashlib.sha256(data).hexdigest() != record.source.sha256:
            raise FdrdError(f"{record.image} changed during the build; run the command again")
        row = _row(annotated, task.labels)
        name = member_name(record.image.member) or Path(record.image.path).name
        row["image"] = {"bytes": data, "path": name}
        row["category"] = number[task.labels[record.domain, record.category]]
        batch.append(row)
        size += len(data)
        if size >= BATCH_BYTES or len(batch) >= BATCH_ROWS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _row(record: Record, labels: Labels) -> dict[str, Any]:
    """The columns of `fdrd.record.features` that need no bytes; negatives name class labels, as `category` does."""
    row = to_json(record)
    for negative in row["negatives"]:
        named = (record.domain, negative["category"])
        negative["category"] = labels.get(named, negative["category"])
    return row
