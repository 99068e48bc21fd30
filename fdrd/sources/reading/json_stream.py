"""Elements of large JSON files, one at a time: memory does not grow with the file."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import IO, Any

import ijson

from fdrd.reasons import Rejection
from fdrd.sources.reading.lines import Line, each_file, object_line, repeated_key
from fdrd.sources.reading.source_folder import RejectedError, SourceFolder

_MAX_DEPTH = 100
_OPENING, _CLOSING = ("start_map", "start_array"), ("end_map", "end_array")


@dataclass(frozen=True, slots=True)
class Element(Line):
    """An element, as a line without fields until it is known to be an object.

    Attributes:
        array: key of its array in the root object, empty for elements of the root itself.
        name: its own key or number.
        value: its value, or a `RejectedError` if a key occurs twice.
    """

    array: str
    name: str
    value: Any

    def object(self) -> Line:
        """Return the element as a line with its fields.

        Raises:
            RejectedError: it is no object, or has a key twice.
        """
        if isinstance(self.value, RejectedError):
            raise self.value
        return object_line(self.file, self.key, self.value)


def stream_elements(
    folder: SourceFolder,
    file: str,
    arrays: Collection[str] | None = None,
    skip: Collection[str] = (),
) -> Iterator[Element | Rejection]:
    """Yield the elements of a JSON file; what ends it early is a rejection.

    Args:
        folder: folder of the source.
        file: root array of elements, or root object.
        arrays: keys of the root object whose arrays are yielded element by element; all by default.
        skip: keys of the root object that are not read into memory.
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
    if opened.read(3) != codecs.BOM_UTF8:
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
