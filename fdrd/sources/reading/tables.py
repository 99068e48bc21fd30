"""Tables of any kind: CSV, TSV, JSON lines and Parquet give rows with the same fields."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from fdrd.reasons import Rejection
from fdrd.sources.reading.columns import flaw_of_columns, known_fields
from fdrd.sources.reading.lines import DELIMITERS, Line, header_of, read_jsonl, read_separated
from fdrd.sources.reading.source_folder import SourceFolder

TABLES = (*DELIMITERS, ".jsonl", ".parquet")


def columns_of_table(folder: SourceFolder, file: str) -> list[str]:
    """Return the names of the columns, none if the file cannot be read."""
    if _is_binary(file):
        from fdrd.sources.reading.rows import columns_of

        return columns_of(folder, file)
    return header_of(folder, file)


def read_table(folder: SourceFolder, file: str) -> Iterator[Line | Rejection]:
    """Yield each row with its fields under the names of `reading.columns.COLUMNS`."""
    if _is_binary(file):
        from fdrd.sources.reading.rows import read_rows

        yield from read_rows(folder, file)
        return
    for line in _raw_rows(folder, file):
        if isinstance(line, Line):
            line = Line(file, line.key, known_fields(line.fields, folder.options))
        yield line


def table_flaw(folder: SourceFolder, file: str, *fields: str) -> str | None:
    """Return which of these fields a table lacks, and the option that names their columns; None if it has all."""
    columns = columns_of_table(folder, file)
    if not columns:
        return f"{file} has no columns that can be read"
    raw = () if _is_binary(file) else islice(_raw_rows(folder, file), 20)
    rows = (line.fields for line in raw if isinstance(line, Line))
    return flaw_of_columns(file, columns, rows, fields, folder.options)


def _raw_rows(folder: SourceFolder, file: str) -> Iterator[Line | Rejection]:
    """Yield the rows of a file of lines under their own names."""
    return (read_jsonl if file.lower().endswith(".jsonl") else read_separated)(folder, file)


def _is_binary(file: str) -> bool:
    return file.lower().endswith((".parquet", ".arrow"))
