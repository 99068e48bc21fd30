"""Rows of Parquet and Arrow files: their fields without the pictures' bytes, and where those lie.

Class labels that `datasets` wrote as numbers become names again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fdrd.files.safe_open import resolve_inside
from fdrd.reasons import Rejection
from fdrd.sources.reading.columns import find_columns
from fdrd.sources.reading.lines import Line

ROWS = 64  # made into objects at a time
_HARMLESS = 2**30  # bytes that the columns of a file may have, or ...
_BOMB = 1000  # ... this many times those of the file


def columns_of(root: Path, file: str) -> list[str]:
    """The names of the columns, none where the file cannot be read."""
    try:
        with ExitStack() as stack:
            return list(_open(root, file, stack).schema.names)
    except (OSError, ValueError, pa.ArrowException):
        return []


def read_rows(root: Path, file: str) -> Iterator[Line | Rejection]:
    """Each row with its fields under the names of `COLUMNS`; what is wrong ends the file with a rejection.

    The field `image` is what a column of text says, the path that a column of `datasets`' structs gives,
    or None; where there are bytes, `image_column` names their column.
    """
    number = 0
    try:
        with ExitStack() as stack:
            table = _open(root, file, stack)
            columns = find_columns(table.schema.names)
            if "image" not in columns:
                raise ValueError(
                    f"no column for the image; the columns are {', '.join(table.schema.names)}"
                )
            kind = _kind(table.schema, columns["image"])
            if not (_is_text(kind) or _is_bytes(kind) or _holds_bytes(kind)):
                raise ValueError(
                    f"the column {columns['image']!r} holds {kind}, no path and no bytes"
                )
            labels = _labels(table.schema)
            names = {field: labels[name] for field, name in columns.items() if name in labels}
            for row in table.rows(columns):
                yield _named(Line(file, f"row {number}", row), names)
                number += 1
    except PermissionError as error:
        yield Rejection(file, "", "path_outside", str(error))
    except (OSError, ValueError, pa.ArrowException) as error:
        key = f"from row {number} on" if number else ""
        yield Rejection(file, key, "unreadable_annotations", str(error)[:500])


class _Parquet:
    def __init__(self, path: Path, stack: ExitStack):
        # Without these two a row group, which may be the whole file, is read into memory.
        self._file = stack.enter_context(pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20))
        self.schema = self._file.schema_arrow
        size, found = path.stat().st_size, self._file.metadata
        groups = [found.row_group(group) for group in range(found.num_row_groups)]
        if found.num_rows > size or sum(group.total_byte_size for group in groups) > max(
            _HARMLESS, _BOMB * size
        ):
            raise ValueError(f"{found.num_rows} rows in {size} bytes would fill the memory")

    def rows(self, columns: dict[str, str]) -> Iterator[dict[str, Any]]:
        image = columns["image"]
        inner = _path_inside(self.schema, image)
        wanted = [column for field, column in columns.items() if field != "image"]
        for batch in self._file.iter_batches(
            ROWS, columns=[*wanted, *([inner] if inner else [])], use_threads=False
        ):
            yield from _rows(batch, self.schema, columns)


class _Arrow:
    def __init__(self, path: Path, stack: ExitStack):
        source = stack.enter_context(pa.memory_map(str(path)))
        magic = source.read(6)
        source.seek(0)
        if magic == b"ARROW1":
            opened = pa.ipc.open_file(source)
            batches = (opened.get_batch(number) for number in range(opened.num_record_batches))
        else:
            opened = pa.ipc.open_stream(source)
            batches = iter(opened)
        self.schema, self._batches = opened.schema, batches

    def rows(self, columns: dict[str, str]) -> Iterator[dict[str, Any]]:
        for batch in self._batches:
            # Bytes from a stranger may point anywhere; this looks at offsets, not at pictures.
            batch.validate(full=True)
            for start in range(0, batch.num_rows, ROWS):
                yield from _rows(batch.slice(start, ROWS), self.schema, columns)


def _open(root: Path, file: str, stack: ExitStack) -> _Parquet | _Arrow:
    path = resolve_inside(root, file)
    kind = _Parquet if file.lower().endswith(".parquet") else _Arrow
    return kind(path, stack)


def _rows(
    batch: pa.RecordBatch, schema: pa.Schema, columns: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """The fields of each row of a batch. Pictures stay where they are."""
    image = columns["image"]
    kind = _kind(schema, image)
    paths: Sequence[str | None] = [None] * batch.num_rows
    if _is_text(kind):
        paths = batch.column(image).to_pylist()
    elif _path_inside(schema, image):
        paths = batch.column(image).field("path").to_pylist()
    values = {
        field: batch.column(column).to_pylist()
        for field, column in columns.items()
        if field != "image"
    }
    bytes_in = {} if _is_text(kind) else {"image_column": image}
    for number, path in enumerate(paths):
        yield {
            **{field: found[number] for field, found in values.items()},
            "image": path,
            **bytes_in,
        }


def _path_inside(schema: pa.Schema, image: str) -> str:
    """What to read of the column of images for the paths in it."""
    kind = _kind(schema, image)
    if _is_text(kind):
        return image
    has_path = pa.types.is_struct(kind) and kind.get_field_index("path") >= 0
    return f"{image}.path" if has_path else ""


def _kind(schema: pa.Schema, column: str) -> pa.DataType:
    """The type of a column, that of the values where it is a dictionary."""
    kind = schema.field(column).type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _holds_bytes(kind: pa.DataType) -> bool:
    """Whether it is a struct with bytes, as `datasets` stores an image."""
    place = kind.get_field_index("bytes") if pa.types.is_struct(kind) else -1
    return place >= 0 and _is_bytes(kind.field(place).type)


def _labels(schema: pa.Schema) -> dict[str, list[str]]:
    """By column, the names of the classes that `datasets` noted in the file."""
    try:
        noted = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = noted["info"]["features"]
        return {
            column: list(map(str, feature["names"]))
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _named(line: Line, names: dict[str, list[str]]) -> Line | Rejection:
    """The row with names for the numbers of its classes."""
    for field, of_class in names.items():
        number = line.fields[field]
        if isinstance(number, int):
            if not 0 <= number < len(of_class):
                detail = f'"{field}" is class {number}, of {len(of_class)}'
                return line.reject("bad_field", detail)
            line.fields[field] = of_class[number]
    return line
