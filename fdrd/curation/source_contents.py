"""A source as it was read: its records and rejections in order, with the check of each image.

Records and checks are in files, because millions of them do not fit in memory.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Self

from msgspec import Struct

from fdrd.files.struct_file import StructFile
from fdrd.images.check import ImageCheck
from fdrd.reasons import Rejection
from fdrd.record import ImageRef, Record

Item = Record | Rejection

ANNOTATIONS = frozenset({".json", ".jsonl", ".csv", ".tsv", ".parquet", ".arrow", ".tar"})


@lru_cache(maxsize=65_536)
def annotation_file(file: str) -> str:
    """Return the annotation file that an item is counted under, or one heading for all loose files.

    >>> annotation_file("birds/wren.txt")
    '(images and their text files)'
    """
    if PurePosixPath(file).suffix.lower() in ANNOTATIONS:
        return file
    return "(images and their text files)"


@dataclass(frozen=True, slots=True)
class ImageLocation:
    """An image below a root."""

    root: str
    image: ImageRef


class CheckedImage(Struct, frozen=True, gc=False):
    """An image and its check."""

    image: ImageRef
    check: ImageCheck


@dataclass(slots=True)
class SourceContents:
    """A source before curation. Close it to remove its files.

    Attributes:
        records: in source order.
        images: each once.
        root: the folder of the images.
        packed: by digest, the location of images that are not below the root.
        image_of: for each record, the index of its image.
        places: for each record, its place among all items.
        rejections: with their places, in order.
    """

    records: StructFile[Record]
    images: StructFile[CheckedImage]
    root: str
    packed: dict[str, ImageLocation] = field(default_factory=dict)
    image_of: array[int] = field(default_factory=lambda: array("i"))
    places: array[int] = field(default_factory=lambda: array("q"))
    rejections: list[tuple[int, Rejection]] = field(default_factory=list)

    @classmethod
    def in_folder(cls, folder: Path, root: str) -> Self:
        """Return empty contents with files in a folder, which may be left over from a killed run."""
        return cls(
            StructFile(folder / "records.partial", Record),
            StructFile(folder / "images.partial", CheckedImage),
            root and str(Path(root).absolute()),
        )

    def with_records(self, file: Path) -> Self:
        """Return contents with the same images and no items yet; the records will be in this file."""
        return replace(
            self,
            records=StructFile(file, Record),
            image_of=array("i"),
            places=array("q"),
            rejections=[],
        )

    def __enter__(self) -> Self:
        """Return the contents."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the files."""
        with ExitStack() as stack:
            stack.enter_context(self.records)
            stack.enter_context(self.images)

    @property
    def size(self) -> int:
        """The number of items."""
        return len(self.places) + len(self.rejections)

    def add(self, item: Item, image: int = -1) -> None:
        """Add the next item; `image` is the index of the image of a record."""
        if isinstance(item, Rejection):
            self.rejections.append((self.size, item))
            return
        self.places.append(self.size)
        self.image_of.append(image)
        self.records.append(item)

    def items(self) -> Iterator[Item]:
        """Yield records and rejections in source order."""
        records, place = iter(self.records), 0
        for rejected, rejection in self.rejections:
            while place < rejected:
                yield next(records)
                place += 1
            yield rejection
            place += 1
        yield from records
