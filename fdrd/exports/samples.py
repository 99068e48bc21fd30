"""What every format writes: the distinct images of a split with their rows, read in batches."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from fdrd.columns import extra_of
from fdrd.dataset import RetrievalDataset
from fdrd.exports.formats import Task
from fdrd.files.names import digest_name
from fdrd.images.check import opened_image
from fdrd.progress import Progress, silent

Row = dict[str, Any]

COCO_SPLITS = {"train": "train", "validation": "val", "test": "test"}
"""Names of the splits in COCO and Karpathy."""

_BATCH = 64
_SUFFIXES = {"JPEG": "jpg", "MPO": "jpg", "TIFF": "tif"}
LEFT_OUT = ("domain", "source", "width", "height")
"""Columns that no line of an export has: a build determines them."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A distinct image of a split of `data`. `file` holds its bytes, unless they were not asked for."""

    data: str
    index: int
    split: str
    rows: list[Row]
    file: bytes

    @property
    def captions(self) -> list[str]:
        """Return the captions, each on one line."""
        return [" ".join(row["caption"].splitlines()) for row in self.rows]

    @property
    def origin(self) -> str:
        """Return the name of the dataset and the id of the first record, for errors."""
        return f"{self.data}: {self.rows[0]['id']}"

    @property
    def file_name(self) -> str:
        """Return a name made of the digest of the image and the ending of its format."""
        with opened_image(self.file, self.origin) as image:
            kind = image.format or "bin"
        digest = digest_name(self.rows[0]["source"]["sha256"])
        return f"{digest[:32]}.{_SUFFIXES.get(kind, kind.lower())}"

    def save(self, folder: Path) -> str:
        """Write the unchanged bytes under `file_name`, and return that."""
        folder.mkdir(parents=True, exist_ok=True)
        name = self.file_name
        (folder / name).write_bytes(self.file)
        return name


@dataclass(frozen=True, slots=True)
class DomainExport:
    """What a format writes: the splits of a domain, into an empty folder.

    Attributes:
        folder: folder of the domain.
        domain: name of the domain.
        views: splits of the domain.
        progress: called with the number of images.
        task: task of `webdataset`.
        shard_bytes: size at which `webdataset` closes a shard.
    """

    folder: Path
    domain: str
    views: Sequence[RetrievalDataset]
    progress: Progress
    task: Task
    shard_bytes: int

    def samples(self) -> Iterator[Sample]:
        """Yield the images of all splits in order."""
        for view in self.views:
            yield from samples(view, self.domain, self.progress)


def samples(
    view: RetrievalDataset, domain: str, progress: Progress = silent, *, files: bool = True
) -> Iterator[Sample]:
    """Yield the images of a view of one domain in order, with category names as the source had them."""
    stage = f"export {domain} {view.split}"
    rows_of: list[list[int]] = [[] for _ in view.image_digests]
    for row, image in enumerate(view.pairs[:, 0].tolist()):
        rows_of[image].append(row)
    for start in range(0, len(rows_of), _BATCH):
        batch = range(start, min(start + _BATCH, len(rows_of)))
        contents = view.files(batch) if files else [b""] * len(batch)
        for image, content in zip(batch, contents, strict=True):
            progress(stage, image, len(rows_of))
            rows = view.records(rows_of[image])
            for record in rows:
                record["category"] = plain_category(record["category"], domain)
                for name in [name for name, value in record.items() if value is None]:
                    del record[name]  # an extra column without a value
            yield Sample(view.name, image, view.split, rows, content)
    progress(stage, len(rows_of), len(rows_of))


def plain_category(category: str, domain: str) -> str:
    """Return a category without the domain, which is its prefix if two domains share the category."""
    return category.removeprefix(f"{domain}: ")


def as_line(row: Row, file_name: str, split: str) -> Row:
    """Return a row as a line of metadata.jsonl."""
    fields = {key: value for key, value in row.items() if key not in LEFT_OUT}
    fields |= {"id": plain_id(row), "natural_pairs": plain_partners(row)}
    return {"file_name": file_name, **fields, "split": split, "license": row["source"]["license"]}


def caption_extras(row: Row) -> Row:
    """Return the keys of a caption that only `fdrd build` reads, as `reading.pairs.exported_fields`."""
    about = {"id": plain_id(row), "group": row["group"], "license": row["source"]["license"]}
    about |= extra_columns(row)
    about["natural_pairs"] = plain_partners(row)
    return {"attributes": row["attributes"], "negatives": row["negatives"], "record": about}


def extra_columns(row: Row) -> Row:
    """Return the extra columns of a row under one key, which no format has; nothing if there are none."""
    extra = extra_of(row)
    return {"columns": extra} if extra else {}


def plain_id(row: Row) -> str:
    """Return the id of a record without its domain."""
    return _without_domain(row["id"], row)


def plain_partners(row: Row) -> list[Row]:
    """Return the natural pairs of a row with the ids that the export writes."""
    return [{**each, "id": _without_domain(each["id"], row)} for each in row["natural_pairs"]]


def _without_domain(id: str, row: Row) -> str:
    return id.removeprefix(f"{row['domain']}/")


def write_json(path: Path, **members: object) -> None:
    """Write a JSON object. An iterator becomes a list, element by element."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _open(path) as file:
        for index, (key, value) in enumerate(members.items()):
            file.write(f"{',' if index else '{'}\n{json.dumps(key)}: ")
            if isinstance(value, Iterator):
                _write_list(file, value)
            else:
                file.write(dump(value))
        file.write("\n}\n")


def write_rows(path: Path, rows: Iterator[Row]) -> None:
    """Write a JSON list, row by row."""
    with _open(path) as file:
        _write_list(file, rows)
        file.write("\n")


def write_lines(path: Path, rows: Iterable[Row]) -> None:
    """Write JSON lines."""
    with _open(path) as file:
        file.writelines(f"{dump(row)}\n" for row in rows)


def _open(path: Path) -> IO[str]:
    return path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n")


def _write_list(file: IO[str], values: Iterator[object]) -> None:
    """Write a JSON list, one element per line."""
    file.write("[")
    for index, value in enumerate(values):
        file.write(f"{',' if index else ''}\n{dump(value)}")
    file.write("]")


def dump(value: object) -> str:
    """Return JSON on one line."""
    return json.dumps(value, ensure_ascii=False)
