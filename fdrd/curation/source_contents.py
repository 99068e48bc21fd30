"""A source as it was read: its records and rejections in order, with the check of each image.

Records and checks are in Arrow files, because millions of them do not fit in memory.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Self

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from fdrd.files.struct_table import StructTable, StructWriter
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


class CheckedImage(Struct, frozen=True, gc=False):
    """An image and its check."""

    image: ImageRef
    check: ImageCheck


@dataclass(frozen=True, slots=True)
class SourceContents:
    """A source before curation: records in source order, rejections with their positions, and each image once.

    `image_of` has the index of the image of each record, and `positions` its position among all items. `root` is the
    folder of the images.
    """

    root: str
    records: StructTable[Record]
    image_of: npt.NDArray[np.int32]
    positions: npt.NDArray[np.int64]
    rejections: list[tuple[int, Rejection]]
    images: StructTable[CheckedImage]

    def items(self) -> Iterator[tuple[Item, int]]:
        """Yield records, each with the index of its image, and rejections, in source order."""
        records = zip(self.records, self.image_of.tolist(), strict=True)
        position = 0
        for rejected, rejection in self.rejections:
            while position < rejected:
                yield next(records)
                position += 1
            yield rejection, -1
            position += 1
        yield from records


class SourceWriter:
    """Takes the items of a source in order. A context manager: it removes its file at the end."""

    def __init__(self, file: Path):
        self._records = StructWriter(file, Record)
        self._image_of, self._positions = array("i"), array("q")
        self._rejections: list[tuple[int, Rejection]] = []

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(self, *error: object) -> None:
        """Remove the file."""
        self._records.__exit__(*error)

    def add(self, item: Item, image: int = -1) -> None:
        """Add the next item; `image` is the index of the image of a record."""
        position = len(self._positions) + len(self._rejections)
        if isinstance(item, Rejection):
            self._rejections.append((position, item))
            return
        self._positions.append(position)
        self._image_of.append(image)
        self._records.append(item)

    def finish(self, root: str, images: StructTable[CheckedImage]) -> SourceContents:
        """Return what was written."""
        image_of, positions = np.array(self._image_of), np.array(self._positions)
        records = self._records.finish()
        return SourceContents(root, records, image_of, positions, self._rejections, images)
