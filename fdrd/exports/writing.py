"""Write a dataset in one of the `FORMATS`: a folder for each domain, complete or not at all.

Every format writes the distinct images of a split with their rows, which are read in batches.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdrd.columns import MEASURED, extra_of
from fdrd.dataset import Name, RetrievalDataset, load_splits
from fdrd.errors import FdrdError
from fdrd.exports import ExportedSplit, FormatName, Task, format_module
from fdrd.files.atomic import atomic_folder, disk_errors
from fdrd.files.paths import digest_name, domain_folder
from fdrd.images.check import opened_image
from fdrd.progress import Progress, silent

Row = dict[str, Any]

COCO_SPLITS = {"train": "train", "validation": "val", "test": "test"}
"""Names of the splits in COCO and Karpathy."""

_BATCH = 64
_SUFFIXES = {"JPEG": "jpg", "MPO": "jpg", "TIFF": "tif"}
LEFT_OUT = ("domain", "source", *MEASURED)
"""Columns that no line of an export has: a build determines them."""


def export(
    data: Name,
    out: str | Path,
    *,
    to: FormatName = "parquet",
    task: Task = "zeroshot_retrieval",
    split: str | None = None,
    domain: str | None = None,
    shard_bytes: int = 10**9,
    progress: Progress = silent,
) -> list[ExportedSplit]:
    """Write a dataset in another tool's format. The same dataset gives the same bytes.

    Args:
        data: a dataset: path, registered name, Hub id, or a `Dataset`.
        out: new or empty folder; a failed export leaves nothing behind.
        to: name of a format in `fdrd.exports.FORMATS`.
        task: task of the export: captions for retrieval or, in `webdataset` only, class names for classification.
        split: the only split to export.
        domain: the only domain to export.
        shard_bytes: size at which `webdataset` closes a shard.
        progress: called with the number of images.

    Raises:
        FdrdError: the format, dataset, split, or domain does not exist, the dataset is damaged, `out` is not empty,
            or the disk is full.
    """
    form = format_module(to)
    if task != "zeroshot_retrieval" and to != "webdataset":
        raise FdrdError(f"`task` {task} is for `to` webdataset; leave it out with `to` {to}")
    # The folder is checked before loading, which takes time.
    with disk_errors(Path(out)), atomic_folder(Path(out)) as stage:
        domains: dict[str, list[RetrievalDataset]] = {}
        for view in load_splits(data, split, domain):
            for name in view.domains if domain is None else [domain]:
                domains.setdefault(name, []).append(view.of_domain(name))
        counts = []
        for name, views in sorted(domains.items()):
            folder = stage / domain_folder(name)
            folder.mkdir()
            form.write_domain(DomainExport(folder, name, views, progress, task, shard_bytes))
            counts += [_count(folder, name, view) for view in views]
    return counts


def _count(folder: Path, domain: str, view: RetrievalDataset) -> ExportedSplit:
    shards = len(list((folder / view.split).glob("*.tar")))
    return ExportedSplit(domain, view.split, len(view.image_digests), len(view), shards)


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
        """The name of the dataset and the id of the first record, for errors."""
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
    """What a format writes: the splits of a domain, into an empty folder. The last two are for `webdataset`."""

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
            rows = []
            for record in view.records(rows_of[image]):
                # An extra column may have no value.
                known = {name: value for name, value in record.items() if value is not None}
                rows.append(known | {"category": plain_category(record["category"], domain)})
            yield Sample(view.name, image, view.split, rows, content)
    progress(stage, len(rows_of), len(rows_of))


def plain_category(category: str, domain: str) -> str:
    """Return a category without the domain, which is its prefix if two domains share the category."""
    return category.removeprefix(f"{domain}: ")


def as_line(row: Row, file_name: str, split: str) -> Row:
    """Return a row as a line of metadata.jsonl."""
    fields = {key: value for key, value in row.items() if key not in LEFT_OUT}
    fields |= _plain_ids(row)
    return {"file_name": file_name, **fields, "split": split, "license": row["source"]["license"]}


def caption_extras(row: Row) -> Row:
    """Return the keys of a caption that only `fdrd build` reads, as `reading.pairs.exported_fields`."""
    ids = _plain_ids(row)
    about = {"id": ids["id"], "group": row["group"], "license": row["source"]["license"]}
    about |= {**extra_columns(row), "natural_pairs": ids["natural_pairs"]}
    return {"attributes": row["attributes"], "negatives": row["negatives"], "record": about}


def extra_columns(row: Row) -> Row:
    """Return the extra columns of a row under one key, which no format has; nothing if there are none."""
    extra = extra_of(row)
    return {"columns": extra} if extra else {}


def _plain_ids(row: Row) -> Row:
    """Return the id of a record and its natural pairs, without the domain in ids."""
    prefix = f"{row['domain']}/"
    partners = [{**each, "id": each["id"].removeprefix(prefix)} for each in row["natural_pairs"]]
    return {"id": row["id"].removeprefix(prefix), "natural_pairs": partners}


def write_json(path: Path, **members: object) -> None:
    """Write a JSON object. An iterator becomes a list, element by element."""
    write_text(path, _object_text(members))


def write_lines(path: Path, rows: Iterable[Row]) -> None:
    """Write JSON lines."""
    write_text(path, (f"{_dump(row)}\n" for row in rows))


def write_text(path: Path, parts: Iterable[str]) -> None:
    """Write a file of text. Half a surrogate pair is escaped."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        file.writelines(parts)


def _object_text(members: dict[str, object]) -> Iterator[str]:
    for index, (key, value) in enumerate(members.items()):
        yield f"{',' if index else '{'}\n{json.dumps(key)}: "
        yield from list_text(value) if isinstance(value, Iterator) else [_dump(value)]
    yield "\n}\n"


def list_text(values: Iterator[object]) -> Iterator[str]:
    """Yield a JSON list, one element per line."""
    yield "["
    for index, value in enumerate(values):
        yield f"{',' if index else ''}\n{_dump(value)}"
    yield "]"


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
