"""A table of pairs: CSV, TSV, JSON lines or Parquet, with images as paths or, in Parquet, as bytes.

Tables are directly in the folder or, as in Hub repositories, in `data` if that is the only subfolder. A row
is a pair. Its image is a path relative to the table's folder or to the root, or bytes; the other columns
are those of `reading.pairs`, under any name in `reading.columns`. The split is a column, or part of the
file name (`train-00000-of-00002.parquet`).
"""

from collections.abc import Mapping
from pathlib import PurePosixPath

from fdrd.images.containers import row_member
from fdrd.record import ImageRef
from fdrd.sources.layouts.image_folder import METADATA
from fdrd.sources.reading.columns import find_columns
from fdrd.sources.reading.image_search import ImageIndex
from fdrd.sources.reading.lines import Line, each_line
from fdrd.sources.reading.names import is_absolute, split_in_name
from fdrd.sources.reading.pairs import Pairs, pairs
from fdrd.sources.reading.source_folder import SourceFolder
from fdrd.sources.reading.tables import TABLES, columns_of_table, read_table, table_flaw

ORDER = 3  # a general layout


def detect(folder: SourceFolder) -> str | None:
    for file in _tables(folder):
        columns = _columns(folder, file)
        if "image" in columns and ("caption" in columns or "category" in columns):
            named = {field: " and ".join(map(repr, names)) for field, names in columns.items()}
            used = ", ".join(f"{names} for the {field}" for field, names in named.items())
            return f"{file} has the columns {used}"
    return None


def near_miss(folder: SourceFolder) -> str | None:
    flaws = (table_flaw(folder, file, "image", "caption") for file in _tables(folder))
    return next(filter(None, flaws), None)


def used_files(folder: SourceFolder) -> list[str]:
    return [file for file in _tables(folder) if "image" in _columns(folder, file)]


def read(folder: SourceFolder, require_images: bool = True) -> Pairs:
    splits = {file: PurePosixPath(file).stem for file in _tables(folder)}
    return read_tables(folder, splits, require_images)


def read_tables(folder: SourceFolder, splits: Mapping[str, str], require_images: bool) -> Pairs:
    """Yield the pairs of tables, row by row. The name that is the value of each may contain its split."""
    images = ImageIndex(folder, require_images)
    split_of = {file: split_in_name(name) for file, name in splits.items()}

    def read_row(line: Line) -> Pairs:
        path, column = line.fields.pop("image", None), line.fields.pop("image_column", None)
        if column is None:
            return images.pairs_of(line, path, split_of[line.file])
        path = path if isinstance(path, str) and not is_absolute(path) else ""
        row = line.key.removeprefix("row ")
        image, name = ImageRef(line.file, row_member(int(row), column)), f"{line.file}#{row}"
        return pairs(folder.options, line, image, path, split_of[line.file], name)

    for file in splits:
        yield from each_line(read_table(folder, file), read_row)


def _columns(folder: SourceFolder, file: str) -> dict[str, tuple[str, ...]]:
    return find_columns(columns_of_table(folder, file), folder.options)


def _tables(folder: SourceFolder) -> list[str]:
    files = list(folder.top)
    if folder.folders == ["data"]:
        files += [path for path in folder.upper_files("") if path.startswith("data/")]
    tables = [file for file in files if file.lower().endswith(TABLES) or file == "captions.txt"]
    return [file for file in tables if PurePosixPath(file).name not in METADATA]
