"""Files of lines, JSON or separated values: each line with its position, or a rejection with the reason.

Files are read line by line and may have any length.
"""

from __future__ import annotations

import csv
import io
import json
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, TypeVar

from fdrd.reasons import Rejection
from fdrd.sources.reading.columns import find_columns
from fdrd.sources.reading.source_folder import RejectedError, SourceFolder

MAX_LINE = 2**26  # bytes of a line, or of a caption file, that are read into memory
MAX_KEYS = 100_000  # of a JSON text; the time for a key grows with their number
DELIMITERS = {".csv": ",", ".tsv": "\t"}
_DELIMITERS = (",", "\t", ";", "|")

T = TypeVar("T")
AnyLine = TypeVar("AnyLine", bound="Line")


@dataclass(frozen=True, slots=True)
class Line:
    """One row of an annotation file: its position and its fields."""

    file: str
    key: str
    fields: dict[str, Any]

    def reject(self, reason: str, detail: str) -> Rejection:
        """Return the rejection of this row."""
        return Rejection(self.file, self.key, reason, detail)


def object_line(file: str, key: str, value: object) -> Line:
    """Return a JSON object as a line. Raise `RejectedError` if the value is something else."""
    if isinstance(value, dict):
        return Line(file, key, value)
    raise RejectedError("bad_field", f"a {type(value).__name__}, not an object")


def each_line(
    lines: Iterable[AnyLine | Rejection], read: Callable[[AnyLine], Iterable[T]]
) -> Iterator[T | Rejection]:
    """Yield what `read` yields for each line. A `RejectedError` that it raises rejects the line."""
    for line in lines:
        if isinstance(line, Rejection):
            yield line
            continue
        try:
            yield from read(line)
        except RejectedError as error:
            yield line.reject(*error.args)


def each_file(files: Iterable[str], read: Callable[[str], Iterable[T]]) -> Iterator[T | Rejection]:
    """Yield what `read` yields for each file. A `RejectedError` that it raises ends the file."""
    return each_line((Line(file, "", {}) for file in files), lambda line: read(line.file))


def load_json(text: bytes) -> Any:
    """Return the value of a JSON text in UTF-8.

    Raises:
        RejectedError: the text is not JSON, not UTF-8, nested too deeply, has over `MAX_KEYS` keys, or an object has a
            key twice, of which a reader would silently drop one.
    """
    try:
        if text.count(b":") > MAX_KEYS:  # a colon in a string counts, too
            raise ValueError(f"it has over {MAX_KEYS} keys")
        return _DECODER.decode(text.removeprefix(BOM_UTF8).decode())
    except RecursionError:
        raise RejectedError("unreadable_annotations", "not JSON: it is nested too deeply") from None
    except ValueError as error:
        raise RejectedError("unreadable_annotations", f"not JSON: {error}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        key = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise repeated_key(key)
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def repeated_key(key: str) -> RejectedError:
    """Return the error for a key that an object has twice."""
    return RejectedError("bad_field", f"the key {key[:80]!r} occurs twice")


def read_jsonl(folder: SourceFolder, file: str) -> Iterator[Line | Rejection]:
    """Yield the objects of a JSON lines file."""

    def parsed(line: Line) -> Iterator[Line]:
        yield object_line(file, line.key, load_json(line.fields["raw"]))

    return each_line(_raw_lines(folder, file), parsed)


def read_lines(folder: SourceFolder, file: str) -> Iterator[Line | Rejection]:
    """Yield the lines of a text file that are not empty, as the field `text`."""

    def decoded(line: Line) -> Iterator[Line]:
        try:
            text = line.fields["raw"].decode("utf-8-sig").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise RejectedError("unreadable_annotations", f"not UTF-8: {error}") from error
        if text.strip():
            yield Line(file, line.key, {"text": text})

    return each_line(_raw_lines(folder, file), decoded)


def _raw_lines(folder: SourceFolder, file: str) -> Iterator[Line | Rejection]:
    """Yield the bytes of each line that is not empty, as the field `raw`."""

    def read(file: str) -> Iterator[Line | Rejection]:
        with folder.open_text(file) as opened:
            count = 0
            while raw := opened.readline(MAX_LINE):
                count += 1
                line = Line(file, f"line {count}", {"raw": raw})
                if len(raw) == MAX_LINE and not raw.endswith(b"\n"):
                    while raw and not raw.endswith(b"\n"):
                        raw = opened.readline(MAX_LINE)
                    yield line.reject("unreadable_annotations", f"over {MAX_LINE} bytes in a line")
                elif raw.strip():
                    yield line

    return each_file([file], read)


def read_separated(folder: SourceFolder, file: str) -> Iterator[Line | Rejection]:
    """Yield the rows of a table of text with a header, without empty cells."""
    return each_file([file], lambda file: _rows(folder, file))


def _rows(folder: SourceFolder, file: str) -> Iterator[Line | Rejection]:
    # Bytes that are not UTF-8 become surrogates, so that only their row is rejected.
    opened = folder.open_text(file)
    with io.TextIOWrapper(opened, "utf-8-sig", errors="surrogateescape", newline="") as text:
        rows = _reader(text, delimiter_of(folder, file), strict=True)
        header: list[str] | None = None
        while True:
            try:
                row = next(rows, None)
                if row is None:
                    return
                if header is not None and row:
                    yield _row(Line(file, f"line {rows.line_num}", {}), header, row)
            except (csv.Error, RejectedError) as error:
                flaw = (
                    error.args
                    if isinstance(error, RejectedError)
                    else ("unreadable_annotations", str(error))
                )
                yield Rejection(file, f"line {rows.line_num}", *flaw)
                continue
            if header is not None:
                continue
            header = row
            twice = sorted(name for name, times in Counter(header).items() if name and times > 1)
            if twice:
                detail = f"two columns are called {', '.join(twice)[:400]}; rename one"
                yield Rejection(file, "line 1", "unreadable_annotations", detail)
                return


def _row(line: Line, header: list[str], row: list[str]) -> Line:
    if any("\udc80" <= sign <= "\udcff" for cell in row for sign in cell):
        raise RejectedError("unreadable_annotations", "not UTF-8")
    if len(row) > len(header):
        detail = f"{len(row)} cells, where the header has {len(header)}; put quotes around commas"
        raise RejectedError("unreadable_annotations", detail)
    fields = {name: cell for name, cell in zip(header, row, strict=False) if name and cell}
    return Line(line.file, line.key, fields)


def header_of(folder: SourceFolder, file: str) -> list[str]:
    """Return the column names of a file of lines, none if it cannot be read."""
    if file.lower().endswith(".jsonl"):
        try:
            value = json.loads(_first_line(folder, file))
        except (ValueError, RecursionError):
            return []
        return list(value) if isinstance(value, dict) else []
    return _cells(_first_line(folder, file), delimiter_of(folder, file))


def delimiter_of(folder: SourceFolder, file: str) -> str:
    """Return the separator of a table: the given one, that of its extension, or the one that fits its header."""
    usual = DELIMITERS.get(PurePosixPath(file).suffix.lower(), ",")
    if folder.options.separator:
        return folder.options.separator
    line = _first_line(folder, file)
    if len(find_columns(_cells(line, usual), folder.options)) > 1:
        return usual
    return max((usual, *_DELIMITERS), key=lambda each: len(_cells(line, each)))


def _first_line(folder: SourceFolder, file: str) -> str:
    first = folder.start(file).removeprefix(BOM_UTF8).partition(b"\n")[0]
    return first.decode("utf-8", "replace").rstrip("\r")


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(_reader([line], delimiter), [])
    except csv.Error:
        return []


def _reader(lines: Iterable[str], delimiter: str, strict: bool = False) -> Any:
    if delimiter == "|":
        # As in Flickr30k: spaces around cells, and quotes that are part of captions.
        return csv.reader(lines, delimiter="|", quoting=csv.QUOTE_NONE, skipinitialspace=True)
    return csv.reader(lines, delimiter=delimiter, strict=strict)
