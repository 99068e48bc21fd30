"""A table of pairs: CSV, TSV, JSON lines or Parquet, with images as paths or, in Parquet, as bytes.

Tables are directly in the folder or, as in Hub repositories, in `data` if that is the only subfolder. A row
is a pair. Its image is a path relative to the table's folder or to the root, or bytes; the other columns
are those of `reading.pairs`, under any name in `reading.columns`. The split is a column, or part of the
file name (`train-00000-of-00002.parquet`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from fdrd.images.containers import row_member
from fdrd.reasons import Rejection
from fdrd.record import ImageRef, Record, Split
from fdrd.sources.layouts.image_folder import METADATA
from fdrd.sources.reading.columns import find_columns
from fdrd.sources.reading.image_pairs import ImagePairs
from fdrd.sources.reading.lines import Line
from fdrd.sources.reading.names import is_absolute, split_in_name
from fdrd.sources.reading.pairs import pairs
from fdrd.sources.reading.source_folder import SourceFolder
from fdrd.sources.reading.tables import TABLES, columns_of_table, read_table, table_flaw

ORDER = 3  # a general layout


def detect(folder: SourceFolder) -> str | None:
    """Return why the folder holds a table of pairs, or None."""
    for file in _tables(folder):
        columns = find_columns(columns_of_table(folder, file), folder.options)
        if "image" in columns and ("caption" in columns or "category" in columns):
            used = ", ".join(
                f"{' and '.join(map(repr, names))} for the {field}"
                for field, names in columns.items()
            )
            return f"{file} has the columns {used}"
    return None


def near_miss(folder: SourceFolder) -> str | None:
    """Return the first table that lacks a column for image or caption, or None."""
    flaws = (table_flaw(folder, file, "image", "caption") for file in _tables(folder))
    return next(filter(None, flaws), None)


def used_files(folder: SourceFolder) -> list[str]:
    """Return the tables with images."""
    return [
        file
        for file in _tables(folder)
        if "image" in find_columns(columns_of_table(folder, file), folder.options)
    ]


def read(folder: SourceFolder, require_images: bool = True) -> Iterator[Record | Rejection]:
    """Yield the pairs of every table, row by row."""
    images = ImagePairs(folder, require_images)
    for file in _tables(folder):
        split = split_in_name(PurePosixPath(file).stem)
        for line in read_table(folder, file):
            yield from row_pairs(folder, line, images, split)


def row_pairs(
    folder: SourceFolder, line: Line | Rejection, images: ImagePairs, split: Split
) -> Iterator[Record | Rejection]:
    """Yield the pairs of a row.

    Args:
        folder: folder of the table.
        line: a row as `reading.tables.read_table` yields it.
        images: images of the source.
        split: split of the table.
    """
    if isinstance(line, Rejection):
        yield line
        return
    name, column = line.fields.pop("image", None), line.fields.pop("image_column", None)
    if column is not None:
        path = name if isinstance(name, str) and not is_absolute(name) else ""
        number = line.key.removeprefix("row ")
        image = ImageRef(line.file, row_member(int(number), column))
        yield from pairs(folder.options, line, image, path, split, f"{line.file}#{number}")
        return
    yield from images.read(line, name, split)


def _tables(folder: SourceFolder) -> list[str]:
    files = list(folder.top)
    if folder.folders == ["data"]:
        files += [path for path in folder.files if PurePosixPath(path).parent.as_posix() == "data"]
    return [
        file
        for file in files
        if (PurePosixPath(file).suffix.lower() in TABLES or file == "captions.txt")
        and PurePosixPath(file).name not in METADATA
    ]
