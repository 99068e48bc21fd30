"""Turn records into the rows of a shard: as JSON, with hard negatives and without the bytes of their images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from fdrd.columns import ExtraTypes, extra_row
from fdrd.curation.source_contents import ImageLocation
from fdrd.files.struct_file import StructRange
from fdrd.images.containers import member_name
from fdrd.negatives import Catalog
from fdrd.negatives.annotate import AnnotateConfig, annotate
from fdrd.record import Labels, Record, to_json
from fdrd.storage.shard_file import encode_row, with_name


class ShardRow(msgspec.Struct, frozen=True, gc=False):
    """A record of a shard, and what a worker needs to know about its image.

    `place` is empty for an image below the root.
    """

    record: Record
    place: ImageLocation | None = None


class JsonRow(msgspec.Struct, frozen=True, gc=False):
    """A row as JSON, and its image.

    Attributes:
        text: the row (`fdrd.storage.shard_file.encode_row`).
        size: approximate bytes of the row without its image.
        image: where the image is.
        sha256: digest of the image.
    """

    text: bytes
    size: int
    image: ImageLocation
    sha256: str


@dataclass(frozen=True, slots=True)
class RowsTask:
    """Some neighboring rows of a shard; `named` if the file has a column with the names of categories.

    `extra` are the extra columns of the dataset.
    """

    domain: str
    rows: StructRange[ShardRow]
    root: str
    labels: Labels
    named: bool
    config: AnnotateConfig
    extra: ExtraTypes


def make_rows(
    task: RowsTask,
    catalogs: Mapping[str, Catalog],
    true_texts: Callable[[Record], Container[str]],
    count: Callable[[Record], None],
) -> tuple[list[JsonRow], Counter[str]]:
    """Return the rows of a task, and how often each rule fixed or dropped a given negative.

    Args:
        task: the rows.
        catalogs: by domain, the captions that negatives are drawn from.
        true_texts: returns the true texts of the image of a record, as `annotate` needs them.
        count: called with each record as written.

    Raises:
        FdrdError: this machine does not see the records.
    """
    names = sorted(task.labels.values())
    number = {label: index for index, label in enumerate(names)}
    rules: Counter[str] = Counter()
    made = []
    rows = list(task.rows)
    records = [row.record for row in rows]
    annotated = annotate(
        records, list(map(true_texts, records)), catalogs[task.domain], task.config
    )
    for given, record in zip(rows, annotated, strict=True):
        rules.update(record.rules[len(given.record.rules) :])
        count(record)
        row = _row(record, task.labels)
        row["category"] = number.get(task.labels.get((record.domain, record.category), ""))
        name = member_name(record.image.member) or record.image.path.rpartition("/")[2]
        row["image"] = {"path": name}
        row |= extra_row(record.extra, task.extra)
        text = encode_row(row)
        size = text_bytes(text)
        if task.named:
            text = encode_row(with_name(row, names))
        place = given.place or ImageLocation(task.root, record.image)
        made.append(JsonRow(text, size, place, record.source.sha256))
    return made, rules


def text_bytes(text: bytes) -> int:
    """Return the approximate size of a row without its image bytes."""
    return len(msgspec.json.format(text, indent=0))


def _row(record: Record, labels: Labels) -> dict[str, Any]:
    """Return the columns of `fdrd.columns.features` except the image; negatives use class labels."""
    row = to_json(record)
    for column in (
        "split",
        "rules",
        "extra",
    ):  # the shard has the split, the manifest counts the rules
        del row[column]
    for negative in row["negatives"]:
        named = (record.domain, negative["category"])
        negative["category"] = labels.get(named, negative["category"])
    return row
