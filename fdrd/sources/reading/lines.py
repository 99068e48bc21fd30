"""Lines of files, JSON or separated values, and elements of large JSON files: each with its position, or a rejection.

They are read one by one, so memory does not grow with the file.
"""

import csv
import io
import json
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any, TypeVar

import ijson

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


Lines = Iterator[Line | Rejection]


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

    Raise `RejectedError` if it is not JSON, not UTF-8, nested too deeply, has over `MAX_KEYS` keys, or an object has a
    key twice, of which a reader would silently drop one.
    """
    try:
        if text.count(b":") > MAX_KEYS:  # a colon in a string counts, too
            raise ValueError(f"it has over {MAX_KEYS} keys")
        return _DECODER.decode(text.removeprefix(BOM_UTF8).decode())
    except (ValueError, RecursionError) as error:
        flaw = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise RejectedError("unreadable_annotations", f"not JSON: {flaw}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        ((key, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise repeated_key(key)
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def repeated_key(key: str) -> RejectedError:
    """Return the error for a key that an object has twice."""
    return RejectedError("bad_field", f"the key {key[:80]!r} occurs twice")


def read_jsonl(folder: SourceFolder, file: str) -> Lines:
    """Yield the objects of a JSON lines file."""
    return each_line(
        _raw_lines(folder, file),
        lambda line: [object_line(file, line.key, load_json(line.fields["raw"]))],
    )


def read_lines(folder: SourceFolder, file: str) -> Lines:
    """Yield the lines of a text file that are not empty, as the field `text`."""

    def decoded(line: Line) -> Iterator[Line]:
        text = decode(line.fields["raw"]).rstrip("\r\n")
        if text.strip():
            yield Line(file, line.key, {"text": text})

    return each_line(_raw_lines(folder, file), decoded)


def decode(raw: bytes) -> str:
    """Return UTF-8 as text, without a byte-order mark. Raise `RejectedError` for anything else."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RejectedError("unreadable_annotations", f"not UTF-8: {error}") from error


def _raw_lines(folder: SourceFolder, file: str) -> Lines:
    """Yield the bytes of each line that is not empty, as the field `raw`."""

    def read(file: str) -> Lines:
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


def read_separated(folder: SourceFolder, file: str) -> Lines:
    """Yield the rows of a table of text with a header, without empty cells."""
    return each_file([file], lambda file: _rows(folder, file))


def _rows(folder: SourceFolder, file: str) -> Lines:
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
            except csv.Error as error:
                yield Rejection(file, f"line {rows.line_num}", "unreadable_annotations", str(error))
                continue
            except RejectedError as error:
                yield Rejection(file, f"line {rows.line_num}", *error.args)
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
        detail = f"{len(row)} cells, where the header has {len(header)}; put quotes around cells with the separator"
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


_MAX_DEPTH = 100
_OPENING, _CLOSING = ("start_map", "start_array"), ("end_map", "end_array")


@dataclass(frozen=True, slots=True)
class Element(Line):
    """An element, as a line without fields until it is known to be an object.

    `array` is the key of its array in the root object, empty for elements of the root itself, and `name` its own key or
    number. `value` is a `RejectedError` if a key occurs twice.
    """

    array: str
    name: str
    value: Any

    def object(self) -> Line:
        """Return the element as a line with its fields. Raise `RejectedError` for no object, or a key twice."""
        if isinstance(self.value, RejectedError):
            raise self.value
        return object_line(self.file, self.key, self.value)


def stream_elements(
    folder: SourceFolder,
    file: str,
    arrays: Collection[str] | None = None,
    skip: Collection[str] = (),
) -> Iterator[Element | Rejection]:
    """Yield the elements of a JSON file, a root array or object; what ends it early is a rejection.

    `arrays` are the keys of the root object whose arrays are yielded element by element (by default all), and `skip`
    those that are not read into memory.
    """

    def read(file: str) -> Iterator[Element | Rejection]:
        key = ""
        with folder.open_text(file) as opened:
            try:
                for array, name, value in _elements(opened, arrays, skip):
                    position = f"{array} {name}".strip()[:200]
                    key = f"after {array} {name}"[:200]
                    yield Element(file, position, {}, array, name, value)
            except (ijson.JSONError, ValueError, OSError, EOFError, RecursionError) as error:
                detail = f"not JSON: {error}".encode("utf-8", "replace").decode()
                yield Rejection(file, key, "unreadable_annotations", detail[:300])

    return each_file([file], read)


def _elements(
    opened: IO[bytes], arrays: Collection[str] | None, skip: Collection[str]
) -> Iterator[tuple[str, str, Any]]:
    if opened.read(3) != BOM_UTF8:
        opened.seek(0)
    events = iter(ijson.basic_parse(opened, use_float=True))
    event, _ = next(events)
    if event == "start_array":
        yield from _array("", events)
    elif event == "start_map":
        for event, key in events:
            if event == "end_map":
                break
            event, value = next(events)
            if key in skip:
                _build(event, value, events, keep=False)
            elif event == "start_array" and (arrays is None or key in arrays):
                yield from _array(key, events)
            else:
                yield "", key, _build(event, value, events)
    else:
        raise ValueError("neither an object nor an array")
    for _ in events:  # anything after the end is an error
        pass


def _array(key: str, events: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, str, Any]]:
    for index, (event, value) in enumerate(events):
        if event == "end_array":
            return
        yield key, str(index), _build(event, value, events)


def _build(event: str, value: Any, events: Iterator[tuple[str, Any]], keep: bool = True) -> Any:
    """Return the value that starts with an event; None if it is not kept."""
    if event not in _OPENING:
        return value
    root: Any = {} if event == "start_map" else []
    stack, keys, repeated = [root], [""], ""
    while stack:
        event, value = next(events)
        if event == "map_key":
            keys[-1] = value
            if keep and value in stack[-1]:
                repeated = value
        elif event in _CLOSING:
            stack.pop()
            keys.pop()
        else:
            opening = event in _OPENING
            inner: Any = ({} if event == "start_map" else []) if opening else value
            if keep and isinstance(stack[-1], dict):
                stack[-1][keys[-1]] = inner
            elif keep:
                stack[-1].append(inner)
            if opening:
                stack.append(inner)
                keys.append("")
                if len(stack) > _MAX_DEPTH:
                    raise ValueError("it is nested too deeply")
    if repeated:
        return repeated_key(repeated)
    return root if keep else None
