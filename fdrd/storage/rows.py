"""Turn records into the rows of a shard, with hard negatives and without the bytes of their images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa

from fdrd.columns import ExtraTypes, arrow_schema, extra_row, struct_schema
from fdrd.files.struct_table import StructTable, parse_rows
from fdrd.images.containers import member_name
from fdrd.negatives import Catalog
from fdrd.negatives.annotate import AnnotateConfig, annotate
from fdrd.record import ImageRef, Labels, Record, to_json
from fdrd.storage.shard_file import encode_row, named_images, with_name

FILE, SIZE = "image file", "row size"
"""Columns of rows that wait for their image: where it is, and the approximate bytes of the row without it.

With a space, unlike the name of any extra column.
"""


@dataclass(frozen=True, slots=True)
class RowsTask:
    """Some neighboring records of a shard; `named` if the file has a column with the names of categories.

    `extra` are the extra columns of the dataset.
    """

    domain: str
    records: StructTable[Record]
    labels: Labels
    named: bool
    config: AnnotateConfig
    extra: ExtraTypes


def make_rows(
    task: RowsTask,
    catalogs: Mapping[str, Catalog],
    true_texts: Callable[[Record], Container[str]],
    count: Callable[[Record], None],
) -> tuple[pa.RecordBatch, Counter[str]]:
    """Return the rows of a task (`waiting_schema`), and how often each rule fixed or dropped a given negative.

    `catalogs` are, by domain, the captions that negatives are drawn from. `true_texts` returns the true texts of the
    image of a record, as `annotate` needs them. `count` is called with each record as written.

    Raises:
        FdrdError: this machine does not see the records.
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
        row = _row(record, task.labels)
        row["category"] = index.get(task.labels.get((record.domain, record.category), ""))
        image = record.image
        row["image"] = {"path": member_name(image.member) or image.path.rpartition("/")[2]}
        row |= extra_row(record.extra, task.extra)
        size = text_bytes(encode_row(row))
        if task.named:
            row = with_name(row, names)
        lines.append(encode_row({**row, FILE: image, SIZE: size}))
    (batch,) = parse_rows(lines, waiting_schema(names, task.extra, task.named)).to_batches()
    return batch, rules


def waiting_schema(categories: list[str], extra: ExtraTypes, named: bool) -> pa.Schema:
    """Return the schema of rows that wait for their image."""
    schema = named_images(arrow_schema(categories, extra, named=named))
    file = pa.field(FILE, pa.struct(struct_schema(ImageRef)))
    return schema.append(file).append(pa.field(SIZE, pa.int64()))


def text_bytes(text: bytes) -> int:
    """Return the approximate size of a row without its image bytes."""
    return len(msgspec.json.format(text, indent=0))


def _row(record: Record, labels: Labels) -> dict[str, Any]:
    """Return the columns of `fdrd.columns.features` except the image; negatives use class labels."""
    row = to_json(record)
    for column in ("split", "rules", "extra"):  # others have the first two, `extra_row` the last
        del row[column]
    for negative in row["negatives"]:
        named = (record.domain, negative["category"])
        negative["category"] = labels.get(named, negative["category"])
    return row
