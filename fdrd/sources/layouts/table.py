"""A table of pairs: CSV, TSV, JSON lines or Parquet, with the images in files beside it or as bytes in its rows.

The tables lie at the root or, as in a repository of the Hub, in a folder `data` that is the only one. A row
is a pair: the first column that `_columns.COLUMNS` knows as `image` holds a path (below the folder of the
table, or below the root) or the bytes; the others are those of `_pairs`. The split is the row's, or in the
file's name (`train-00000-of-00002.parquet`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from fdrd.images.containers import row_member
from fdrd.reasons import Rejection
from fdrd.record import ImageRef, Record, Split
from fdrd.sources.layouts.image_folder import METADATA
from fdrd.sources.reading.annotation_files import (
    files_below,
    is_absolute,
    is_image,
    leaves_root,
    split_in_name,
    start_of,
)
from fdrd.sources.reading.columns import find_columns
from fdrd.sources.reading.lines import DELIMITERS, Line, header_of, read_jsonl, read_separated
from fdrd.sources.reading.pairs import pairs

_LINES = (*DELIMITERS, ".jsonl")


def detect(root: Path) -> str | None:
    """Why the folder holds a table of pairs, or None."""
    for file in _tables(root):
        columns = find_columns(_columns(root, file))
        if "image" in columns and ("caption" in columns or "category" in columns):
            used = ", ".join(f"{name!r} for the {field}" for field, name in columns.items())
            return f"{file} has the columns {used}"
    return None


def near(root: Path) -> str | None:
    """What is a table and yet not one of pairs."""
    for file in _tables(root):
        columns = _columns(root, file)
        found = find_columns(columns)
        lacks = [name for name in ("image", "caption") if name not in found]
        if lacks:
            there = ", ".join(columns)[:200] or "none that can be read"
            return f"{file} has no column called {' or '.join(lacks)}; its columns are {there}"
    return None


def read(root: Path, pictures: bool = True) -> Iterator[Record | Rejection]:
    """The pairs of every table, row by row."""
    images = {path for path in files_below(root) if is_image(path)} if pictures else None
    times: Counter[str] = Counter()
    for file in _tables(root):
        split = split_in_name(PurePosixPath(file).stem)
        for line in _read(root, file):
            yield from pairs_of(line, images, split, times)


def pairs_of(
    line: Line | Rejection, images: set[str] | None, split: Split, times: Counter[str]
) -> Iterator[Record | Rejection]:
    """The pairs of a row.

    Args:
        line: with fields as `_rows.read_rows` gives them.
        images: the files that are there, if that counts.
        split: of the table.
        times: how often each image was named before; counts on.
    """
    if isinstance(line, Rejection):
        yield line
        return
    given, column = line.fields.pop("image", None), line.fields.pop("image_column", None)
    if column is not None:
        path = given if isinstance(given, str) and not is_absolute(given) else ""
        number = line.key.removeprefix("row ")
        image = ImageRef(line.file, row_member(int(number), column))
        yield from pairs(line, image, path, split, f"{line.file}#{number}")
        return
    if not isinstance(given, str) or not given:
        yield line.reject("bad_field", "the image is missing or not a string")
        return
    if is_absolute(given) or leaves_root(given):
        yield line.reject("path_outside", given[:200])
        return
    beside, below = PurePosixPath(line.file).parent / given, PurePosixPath(given)
    paths = [path.as_posix() for path in (beside, below)]
    path = next((path for path in paths if images is None or path in images), "")
    if not path:
        detail = f"{paths[0][:200]} is not there, or has no ending of an image"
        yield line.reject("image_missing", detail)
        return
    times[path] += 1
    name = path if times[path] == 1 else f"{path}#{line.file} {line.key}"
    yield from pairs(line, ImageRef(path), path, split, name)


def _tables(root: Path) -> list[str]:
    """The files at the root that may be tables, else those of a folder `data` that is alone."""
    known = (*_LINES, ".parquet")
    visible = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    folders = [path for path in visible if path.is_dir() and not path.is_symlink()]
    found = [path.name for path in visible if path not in folders]
    if len(folders) == 1 and folders[0].name == "data":
        found += sorted(f"data/{path.name}" for path in folders[0].iterdir() if path.is_file())
    return [
        file
        for file in found
        if PurePosixPath(file).suffix.lower() in known and PurePosixPath(file).name not in METADATA
    ]


def _columns(root: Path, file: str) -> list[str]:
    suffix = PurePosixPath(file).suffix.lower()
    if suffix in _LINES:
        return header_of(start_of(root, file), suffix)
    from fdrd.sources.reading.rows import columns_of

    return columns_of(root, file)


def _read(root: Path, file: str) -> Iterator[Line | Rejection]:
    suffix = PurePosixPath(file).suffix.lower()
    if suffix not in _LINES:
        from fdrd.sources.reading.rows import read_rows

        yield from read_rows(root, file)
        return
    for line in (read_jsonl if suffix == ".jsonl" else read_separated)(root, file):
        if isinstance(line, Line):
            found = find_columns(line.fields)
            yield Line(file, line.key, {field: line.fields[name] for field, name in found.items()})
        else:
            yield line
