"""Shards: rows planned over files by a stable key, annotated and written by worker processes.

Rows are sorted by `split.order`, and a shard holds a fixed range of that order. A changed image changes its own
shard; a changed caption also changes the catalogue that negatives are drawn from, and with it the shards of its
domain.
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

from fdrd.curation.source_contents import Place
from fdrd.curation.splitting import order
from fdrd.errors import FdrdError
from fdrd.files.atomic import replacing, sha256_of
from fdrd.images.check import ImageCheck, read_image
from fdrd.images.containers import member_name
from fdrd.negatives import Catalogue
from fdrd.negatives.annotate import AnnotateConfig, annotate
from fdrd.record import ImageRef, Labels, Record, Split, from_json, to_json
from fdrd.storage.shard_file import digests_path, open_shard, read_batches, row_digest, row_text

BATCH_BYTES = (
    32 * 2**20
)  # of a record batch: bounds the memory of a worker, and of whoever reads it
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
    packed: dict[str, Place]
    """By image digest, where images lie that are not below the root."""
    folder: str
    schema: bytes
    labels: Labels
    several_captions: dict[str, tuple[str, ...]]
    """By image digest, the captions of images that have more than one."""
    config: AnnotateConfig


def plan_shards(
    records: Iterable[Record],
    examined: Mapping[ImageRef, ImageCheck],
    shard_bytes: int,
    format: str = "arrow",
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
            path = f"data/{domain}/{split}-{number:05d}-of-{len(parts):05d}.{format}"
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
    digests: list[str] = []
    with (
        replacing(final) as file,
        open_shard(file, schema, final.suffix.removeprefix(".")) as write,
    ):
        for batch in _batches(task, catalogues[task.plan.domain], rules, digests):
            write(batch)
    lines = "".join(digests).encode()
    with replacing(Path(task.folder, digests_path(task.plan.path))) as file:
        file.write(lines)
    return {
        "path": task.plan.path,
        "domain": task.plan.domain,
        "split": task.plan.split,
        "rows": len(digests),
        "bytes": final.stat().st_size,
        "sha256": sha256_of(final),
        "rows_sha256": hashlib.sha256(lines).hexdigest(),
        "key": task.key,
        "rules": dict(sorted(rules.items())),
    }


def read_records(folder: Path, manifest: Mapping[str, Any]) -> Iterator[Record]:
    """The records of a built dataset in the order of its shards, without their images' bytes."""
    for shard in manifest["shards"]:
        for batch in read_batches(folder / shard["path"], images=False):
            for row in batch.to_pylist():
                row["category"] = manifest["categories"][row["category"]]
                image = {"path": row["source"]["file"], "member": ""}
                yield from_json({**row, "image": image, "split": shard["split"], "rules": ()})


def _batches(
    task: ShardTask, catalogue: Catalogue, rules: Counter[str], digests: list[str]
) -> Iterator[list[dict[str, Any]]]:
    """Rows with image bytes, a batch at a time; notes the rules that annotating applied, and each row's digest."""
    number = {label: index for index, label in enumerate(sorted(task.labels.values()))}
    batch: list[dict[str, Any]] = []
    size = 0
    for record in task.plan.records:
        captions = task.several_captions.get(record.source.sha256, (record.caption,))
        annotated = annotate(record, captions, catalogue, task.config)
        rules.update(annotated.rules[len(record.rules) :])
        data = _image(task, record)
        row = _row(annotated, task.labels)
        row["category"] = number[task.labels[record.domain, record.category]]
        name = member_name(record.image.member) or record.image.path.rpartition("/")[2]
        row["image"] = {"bytes": data, "path": name}
        text = row_text(row)
        name = json.dumps(record.id, ensure_ascii=False)[1:-1]  # a line break in it is escaped
        digests.append(f"{row_digest(text)}  {name}\n")
        if batch and size + len(data) + len(text) > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += len(data) + len(text)
        if len(batch) >= BATCH_ROWS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _image(task: ShardTask, record: Record) -> bytes:
    """The bytes of a record's image, if they are still those that were examined."""
    try:
        place = task.packed.get(record.source.sha256, Place(task.root, record.image))
        data = read_image(place.root, place.image)
    except (OSError, LookupError, ValueError) as error:
        raise FdrdError(
            f"{record.image}: could be read when it was examined, and cannot be read now ({error}); "
            "run the command again: it goes on from what is done"
        ) from error
    if hashlib.sha256(data).hexdigest() != record.source.sha256:
        raise FdrdError(f"{record.image} changed during the build; run the command again")
    return data


def _row(record: Record, labels: Labels) -> dict[str, Any]:
    """The columns of `fdrd.record.features` that need no bytes; negatives name class labels, as `category` does."""
    row = to_json(record)
    for column in ("split", "rules"):  # the one is the shard's, the other are counted
        del row[column]
    for negative in row["negatives"]:
        named = (record.domain, negative["category"])
        negative["category"] = labels.get(named, negative["category"])
    return row
