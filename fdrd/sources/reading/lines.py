"""Files of lines, JSON or separated values: each line with its position, or a rejection with the reason.

Files are read line by line and may have any length.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any

from fdrd.reasons import Rejection
from fdrd.sources.reading.source_folder import SourceFolder

MAX_LINE = 2**26  # bytes of a line, or of a caption file, that are read into memory
DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True, slots=True)
class Line:
    """One row of an annotation file: its position and its fields."""

    file: str
    key: str
    fields: dict[str, Any]

    def reject(self, reason: str, detail: str) -> Rejection:
        """Return the rejection of this row."""
        return Rejection(self.file, self.key, reason, detail)


class RepeatedKeyError(ValueError):
    """A JSON object has two values for one key, of which a reader would silently drop one."""


def load_json(text: bytes) -> Any:
    """Return the value of a JSON text in UTF-8.

    Raises:
        RepeatedKeyError: an object has a key twice.
        ValueError: the text is not JSON, not UTF-8, or nested too deeply.
    """
    try:
        return json.loads(text.decode("utf-8-sig"), object_pairs_hook=_object)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_jsonl(folder: SourceFolder, file: str) -> Iterator[Line | Rejection]:
    """Yield the objects of a JSON lines file."""
    lines = folder.open(file)
    if isinstance(lines, Rejection):
        yield lines
        return
    with lines:
        number = 0
        while raw := lines.readline(MAX_LINE):
            number += 1
            if raw.strip():
                yield _line(file, f"line {number}", raw, lines)


def read_separated(folder: SourceFolder, file: str) -> Iterator[Line | Rejection]:
    """Yield the rows of a CSV or TSV file with a header, without empty cells."""
    opened = folder.open(file)
    if isinstance(opened, Rejection):
        yield opened
        return
    # Bytes that are not UTF-8 become surrogates, so that only their row is rejected.
    with io.TextIOWrapper(opened, "utf-8-sig", errors="surrogateescape", newline="") as text:
        rows = csv.reader(
            text, delimiter=DELIMITERS[PurePosixPath(file).suffix.lower()], strict=True
        )
        header: list[str] | None = None
        while True:
            try:
                row = next(rows, None)
            except csv.Error as error:
                key = f"line {rows.line_num}"
                yield Rejection(file, key, "unreadable_annotations", str(error))
                continue
            if row is None:
                return
            if header is None:
                header = row
                twice = sorted({name for name in header if name and header.count(name) > 1})
                if twice:
                    detail = f"two columns are called {', '.join(twice)}; rename one"
                    yield Rejection(file, "line 1", "unreadable_annotations", detail)
                    return
            elif row:
                yield _row(Line(file, f"line {rows.line_num}", {}), header, row)


def header_of(start: bytes, suffix: str) -> list[str]:
    """Return the column names of a file of lines that starts with these bytes."""
    first = start.removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0]
    if suffix == ".jsonl":
        try:
            value = json.loads(first)
        except (ValueError, RecursionError):
            return []
        return list(value) if isinstance(value, dict) else []
    rows = csv.reader([first.decode("utf-8", "replace").rstrip("\r")], delimiter=DELIMITERS[suffix])
    try:
        return next(rows, [])
    except csv.Error:
        return []


def _line(file: str, key: str, raw: bytes, rest: IO[bytes]) -> Line | Rejection:
    if len(raw) == MAX_LINE and not raw.endswith(b"\n"):
        while raw and not raw.endswith(b"\n"):
            raw = rest.readline(MAX_LINE)
        return Rejection(file, key, "unreadable_annotations", f"over {MAX_LINE} bytes in a line")
    try:
        fields = load_json(raw)
    except RepeatedKeyError as error:
        return Rejection(file, key, "bad_field", str(error))
    except ValueError as error:
        return Rejection(file, key, "unreadable_annotations", f"not JSON: {error}")
    if isinstance(fields, dict):
        return Line(file, key, fields)
    return Rejection(file, key, "bad_field", f"a {type(fields).__name__}, not an object")


def _row(line: Line, header: list[str], row: list[str]) -> Line | Rejection:
    if any("\udc80" <= sign <= "\udcff" for cell in row for sign in cell):
        return line.reject("unreadable_annotations", "not UTF-8")
    if len(row) > len(header):
        detail = f"{len(row)} cells, where the header has {len(header)}; put quotes around commas"
        return line.reject("unreadable_annotations", detail)
    fields = {name: cell for name, cell in zip(header, row, strict=False) if name and cell}
    return Line(line.file, line.key, fields)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise RepeatedKeyError(f"the key {twice[:80]!r} stands there twice")
    return value
