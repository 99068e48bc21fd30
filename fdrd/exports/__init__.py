"""Datasets in the formats of other tools, one module per format.

May import `dataset` and everything below it. Others use `FORMATS` and `writing.export`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal, Protocol, cast

from fdrd.errors import FdrdError

if TYPE_CHECKING:
    from fdrd.exports.writing import DomainExport


Task = Literal["zeroshot_retrieval", "zeroshot_classification"]
FormatName = Literal[
    "parquet",
    "webdataset",
    "coco",
    "karpathy",
    "jsonl",
    "imagefolder",
    "fiftyone",
    "label-studio",
    "mteb",
]
FORMATS: dict[str, str] = {
    "parquet": "a Parquet file for each split, with the images",
    "webdataset": "tar shards for clip_benchmark",
    "coco": "COCO captions and instances",
    "karpathy": "Karpathy's dataset_*.json",
    "jsonl": "images with one metadata.jsonl",
    "imagefolder": "split and category folders with metadata.jsonl",
    "fiftyone": "a FiftyOne dataset",
    "label-studio": "tasks and labeling interface of Label Studio",
    "mteb": "a task file for mteb",
}
"""Names and descriptions of the formats. Each is a module of this package with the members of `Format`."""


@dataclass(frozen=True, slots=True)
class ExportedSplit:
    """Counts of one split of one domain. Only `webdataset` has shards."""

    domain: str
    split: str
    images: int
    captions: int
    shards: int = 0


class Format(Protocol):
    """The members of a module that writes a format."""

    NOT_CARRIED: str  # what the format has no room for, as a sentence

    def write_domain(self, export: DomainExport) -> None:
        """Write the splits of a domain into an empty folder."""


def format_module(name: str) -> Format:
    """Return the module of a format. Raise `FdrdError` if there is no such format."""
    if name not in FORMATS:
        raise FdrdError(f"unknown export format {name!r}; choose from {', '.join(FORMATS)}")
    return cast(Format, import_module(f"fdrd.exports.{name.replace('-', '_')}"))
