"""A table of pairs: CSV, TSV, JSON lines or Parquet, with images as paths or, in Parquet, as bytes.

Tables are directly in the folder or, as in Hub repositories, in `data` if that is the only subfolder. A row
is a pair. Its image is a path relative to the table's folder or to the root, or bytes; the other columns
are those of `reading.pairs`, under any name in `reading.columns`. The split is a column, or part of the
file name (`train-00000-of-00002.parquet`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import PurePosixPath

from fdrd.images.containers import row_member
from fdrd.reasons import Rejection
from fdrd.record import ImageRef, Record, Split
from fdrd.sources.layouts.image_folder import METADATA
from fdrd.sources.reading.columns import find_columns, known_fields, suggest_options
from fdrd.sources.reading.image_search import ImageIndex
from fdrd.sources.reading.lines import DELIMITERS, Line, header_of, read_jsonl, read_separated
from fdrd.sources.reading.names import is_absolute, leaves_root, split_in_name
from fdrd.sources.reading.pairs import pairs
from fdrd.sources.reading.source_folder import SourceFolder

_LINES = (*DELIMITERS, ".jsonl")


def detect(folder: SourceFolder) -> str | None:
    """Return why the folder holds a table of pairs, or None."""
    for file in _tables(folder):
        columns = find_columns(_columns(folder, file), folder.options)
        if "image" in columns and ("caption" in columns or "category" in columns):
            used = ", ".join(
                f"{' and '.join(map(repr, names))} for the {field}"
                for field, names in columns.items()
            )
            return f"{file} has the columns {used}"
    return None


def near_miss(folder: SourceFolder) -> str | None:
    """Return the first table that lacks a column for image or caption, or None."""
    for file in _tables(folder):
        columns = _columns(folder, file)
        known = find_columns(columns, folder.options)
        missing = [name for name in ("image", "caption") if name not in known]
        if missing:
            if not columns:
                return f"{file} has no columns that can be read"
            rows = (
                line.fields for line in islice(_raw(folder, file), 20) if isinstance(line, Line)
            )
            return (
                f"{file} has no {' or '.join(missing)} column; its columns are "
                f"{', '.join(columns)[:200]}; name it with {suggest_options(rows, missing)}"
            )
    return None


def used_files(folder: SourceFolder) -> list[str]:
    """Return the tables with images."""
    return [
        file
        for file in _tables(folder)
        if "image" in find_columns(_columns(folder, file), folder.options)
    ]


def read(folder: SourceFolder, require_images: bool = True) -> Iterator[Record | Rejection]:
    """Yield the pairs of every table, row by row."""
    index = ImageIndex(folder, require_images)
    times: Counter[str] = Counter()
    for file in _tables(folder):
        split = split_in_name(PurePosixPath(file).stem)
        for line in _read(folder, file):
            yield from row_pairs(folder, line, index, split, times)


def row_pairs(
    folder: SourceFolder,
    line: Line | Rejection,
    index: ImageIndex,
    split: Split,
    times: Counter[str],
) -> Iterator[Record | Rejection]:
    """Yield the pairs of a row.

    Args:
        folder: of the table.
        line: with fields as `reading.rows.read_rows` gives them.
        index: of the images in the source.
        split: of the table.
        times: how many rows named each image before; updated.
    """
    if isinstance(line, Rejection):
        yield line
        return
    given, column = line.fields.pop("image", None), line.fields.pop("image_column", None)
    if column is not None:
        path = given if isinstance(given, str) and not is_absolute(given) else ""
        number = line.key.removeprefix("row ")
        image = ImageRef(line.file, row_member(int(number), column))
        yield from pairs(folder.options, line, image, path, split, f"{line.file}#{number}")
        return
    if not isinstance(given, str) or not given:
        yield line.reject("bad_field", "the image is missing or not a string")
        return
    if is_absolute(given):
        given = folder.relative(given) or given
    if is_absolute(given) or leaves_root(given):
        yield line.reject("path_outside", given[:200])
        return
    found = index.find(given, line.file)
    if isinstance(found, tuple):
        reason, detail = found
        if reason == "image_missing":
            beside = (PurePosixPath(line.file).parent / given).as_posix()
            detail = f"{beside[:200]} is not there, or has no ending of an image"
        yield line.reject(reason, detail)
        return
    path = found
    times[path] += 1
    name = path if times[path] == 1 else f"{path}#{line.file} {line.key}"
    yield from pairs(folder.options, line, folder.image(path), path, split, name)


def _tables(folder: SourceFolder) -> list[str]:
    files = list(folder.top)
    if folder.folders == ["data"]:
        files += [path for path in folder.files if PurePosixPath(path).parent.as_posix() == "data"]
    return [
        file
        for file in files
        if (PurePosixPath(file).suffix.lower() in (*_LINES, ".parquet") or file == "captions.txt")
        and PurePosixPath(file).name not in METADATA
    ]


def _columns(folder: SourceFolder, file: str) -> list[str]:
    suffix = PurePosixPath(file).suffix.lower()
    if suffix in (*_LINES, ".txt"):
        return header_of(folder, file)
    from fdrd.sources.reading.rows import columns_of

    return columns_of(folder, file)


def _read(folder: SourceFolder, file: str) -> Iterator[Line | Rejection]:
    suffix = PurePosixPath(file).suffix.lower()
    if suffix not in (*_LINES, ".txt"):
        from fdrd.sources.reading.rows import read_rows

        yield from read_rows(folder, file)
        return
    for line in _raw(folder, file):
        if isinstance(line, Line):
            yield Line(file, line.key, known_fields(line.fields, folder.options))
        else:
            yield line


def _raw(folder: SourceFolder, file: str) -> Iterator[Line | Rejection]:
    """Yield the rows of a file of lines under their own names; Parquet has none here."""
    if file.lower().endswith(".parquet"):
        return iter(())
    return (read_jsonl if file.lower().endswith(".jsonl") else read_separated)(folder, file)
