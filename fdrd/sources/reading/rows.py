"""Rows of Parquet and Arrow files: their fields and the places of their images, without the image bytes.

Numeric class labels of `datasets` become names.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from fdrd.files.safe_open import resolve_inside
from fdrd.reasons import Rejection
from fdrd.sources.reading.columns import find_columns, merge
from fdrd.sources.reading.extra import MAX_COLUMNS, NESTED
from fdrd.sources.reading.lines import Line
from fdrd.sources.reading.source_folder import SourceFolder

MAX_READ = 4 * MAX_COLUMNS  # columns that fdrd does not know; most of a few rows may be null
ROWS = 64  # converted to objects at a time
_MAX_BYTES = 2**30  # uncompressed bytes that any file may have
_MAX_RATIO = 1000  # larger files may have this many times their compressed size


_Columns = dict[str, tuple[str, ...]]


def columns_of(folder: SourceFolder, file: str) -> list[str]:
    """Return the names of the columns, none if the file cannot be read."""
    try:
        with ExitStack() as stack:
            return list(_open(folder, file, stack).schema.names)
    except (OSError, ValueError, pa.ArrowException):
        return []


def read_rows(folder: SourceFolder, file: str) -> Iterator[Line | Rejection]:
    """Yield each row with its fields under the names of `COLUMNS`; an error ends the file with a rejection.

    The field `image` is a path from a text column or from an image struct of `datasets`, or None. If there
    are image bytes, `image_column` names their column. `extra` has the columns that fdrd does not know.
    """
    number = 0
    try:
        with ExitStack() as stack:
            table = _open(folder, file, stack)
            columns = find_columns(table.schema.names, folder.options)
            if "image" not in columns:
                raise ValueError(
                    f"no column for the image; the columns are {', '.join(table.schema.names)}"
                )
            (image,) = columns["image"]
            kind = _kind(table.schema, image)
            if folder.in_archive(file) and not _is_text(kind):
                raise ValueError("images in rows are not read inside of an archive; unpack it")
            if not (_is_text(kind) or _is_bytes(kind) or _holds_bytes(kind)):
                raise ValueError(f"the column {image!r} holds {kind}, no path and no bytes")
            extra, nested = _extra_columns(table.schema, columns)
            labels = _labels(table.schema)
            classes = {
                field: labels[name] for field, (name, *_) in columns.items() if name in labels
            }
            path_column = _path_inside(table.schema, image)
            names = [name for field in columns if field != "image" for name in columns[field]]
            for batch in table.batches([*names, *extra, *([path_column] if path_column else [])]):
                for row in _rows(batch, table.schema, columns, extra):
                    row["extra"] = nested | {
                        name: _class_name(value, labels.get(name))
                        for name, value in row["extra"].items()
                    }
                    yield _with_classes(Line(file, f"row {number}", row), classes)
                    number += 1
    except PermissionError as error:
        yield Rejection(file, "", "path_outside", str(error))
    except (OSError, ValueError, pa.ArrowException) as error:
        key = f"from row {number} on" if number else ""
        yield Rejection(file, key, "unreadable_annotations", str(error)[:500])


class _Table(NamedTuple):
    """An open table: its schema, and a function that yields batches of at least the named columns."""

    schema: pa.Schema
    batches: Callable[[list[str]], Iterator[pa.RecordBatch]]


def _open(folder: SourceFolder, file: str, stack: ExitStack) -> _Table:
    is_parquet = file.lower().endswith(".parquet")
    if not folder.in_archive(file):
        path = resolve_inside(folder.root, file)
        return _open_parquet(path, stack) if is_parquet else _open_arrow(path, stack)
    if not is_parquet:
        raise ValueError("Arrow files are not read inside of an archive; unpack it")
    opened = folder.open(file)
    if isinstance(opened, Rejection):
        raise ValueError(opened.detail)
    return _open_parquet(stack.enter_context(opened), stack)


def _open_parquet(source: Path | IO[bytes], stack: ExitStack) -> _Table:
    size = source.stat().st_size if isinstance(source, Path) else source.seek(0, os.SEEK_END)
    # By default a whole row group, possibly the whole file, would be read into memory.
    file = stack.enter_context(pq.ParquetFile(source, pre_buffer=False, buffer_size=2**20))
    about = file.metadata
    total = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
    if about.num_rows > size or total > max(_MAX_BYTES, _MAX_RATIO * size):
        raise ValueError(f"{about.num_rows} rows in {size} bytes would fill the memory")
    return _Table(
        file.schema_arrow,
        lambda names: file.iter_batches(ROWS, columns=names, use_threads=False),
    )


def _open_arrow(path: Path, stack: ExitStack) -> _Table:
    source = stack.enter_context(pa.memory_map(str(path)))
    is_file = source.read(6) == b"ARROW1"
    source.seek(0)
    opened = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)

    def batches(_: list[str]) -> Iterator[pa.RecordBatch]:
        numbers = range(opened.num_record_batches) if is_file else ()
        for batch in map(opened.get_batch, numbers) if is_file else opened:
            # Offsets in an untrusted file may point anywhere; image bytes are not read for this.
            batch.validate(full=True)
            yield from (batch.slice(start, ROWS) for start in range(0, batch.num_rows, ROWS))

    return _Table(opened.schema, batches)


def _extra_columns(schema: pa.Schema, columns: _Columns) -> tuple[list[str], dict[str, tuple[()]]]:
    """Return the columns that fdrd does not know and can keep, and the others, with `NESTED` as their value."""
    used = {name for names in columns.values() for name in names}
    (image,) = columns["image"]
    times = Counter(schema.names)
    found = [field for field in schema if field.name not in used]
    kept = [
        field.name
        for field in found
        # Parquet would take "image.bytes" for a part of the column "image".
        if _is_scalar(field.type)
        and times[field.name] == 1
        and not field.name.startswith(f"{image}.")
    ][:MAX_READ]
    return kept, {field.name: NESTED for field in found if field.name not in kept}


def _rows(
    batch: pa.RecordBatch, schema: pa.Schema, columns: _Columns, extra: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield the fields of each row of a batch, without image bytes."""
    (image,) = columns["image"]
    is_text = _is_text(_kind(schema, image))
    paths: Sequence[str | None] = [None] * batch.num_rows
    if is_text:
        paths = batch.column(image).to_pylist()
    elif _path_inside(schema, image):
        paths = batch.column(image).field("path").to_pylist()
    values = {
        field: [batch.column(name).to_pylist() for name in names]
        for field, names in columns.items()
        if field != "image"
    }
    others = {name: batch.column(name).to_pylist() for name in extra}
    for number, path in enumerate(paths):
        fields = {field: merge([each[number] for each in found]) for field, found in values.items()}
        unknown = {name: column[number] for name, column in others.items()}
        bytes_in = {} if is_text else {"image_column": image}
        yield {**fields, "image": path, "extra": unknown, **bytes_in}


def _path_inside(schema: pa.Schema, image: str) -> str:
    """Return the column that holds the paths of images, empty if there is none."""
    kind = _kind(schema, image)
    if _is_text(kind):
        return image
    has_path = pa.types.is_struct(kind) and kind.get_field_index("path") >= 0
    return f"{image}.path" if has_path else ""


def _kind(schema: pa.Schema, column: str) -> pa.DataType:
    """Return the type of a column, for a dictionary that of its values."""
    kind = schema.field(column).type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_scalar(kind: pa.DataType) -> bool:
    """Return whether a column may be an extra column (`reading.extra`)."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = "string large_string boolean integer floating date timestamp time decimal".split()
    return any(getattr(pa.types, f"is_{name}")(kind) for name in tests)


def _class_name(value: object, names: list[str] | None) -> object:
    """Return the name of a class number, or the value of a column without class names."""
    if names and isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    return value


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _holds_bytes(kind: pa.DataType) -> bool:
    """Return whether the type is a struct with bytes, as `datasets` stores an image."""
    index = kind.get_field_index("bytes") if pa.types.is_struct(kind) else -1
    return index >= 0 and _is_bytes(kind.field(index).type)


def _labels(schema: pa.Schema) -> dict[str, list[str]]:
    """Return the class names that `datasets` stored in the file, by column."""
    try:
        metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = metadata["info"]["features"]
        return {
            column: list(map(str, feature["names"]))
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _with_classes(line: Line, classes: dict[str, list[str]]) -> Line | Rejection:
    """Return the row with class names instead of numbers."""
    for field, names in classes.items():
        number = line.fields[field]
        if isinstance(number, int):
            if not 0 <= number < len(names):
                return line.reject("bad_field", f'"{field}" is class {number}, of {len(names)}')
            line.fields[field] = names[number]
    return line
