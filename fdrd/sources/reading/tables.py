"""Tables of any kind: CSV, TSV, JSON lines, Parquet and Arrow give rows with the same fields.

Rows of Parquet and Arrow files have the position of their image, without its bytes. Numeric class labels of `datasets`
become names.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from fdrd.files.paths import resolve_inside
from fdrd.images.containers import open_arrow
from fdrd.reasons import Rejection
from fdrd.sources.reading.columns import (
    MAX_COLUMNS,
    NESTED,
    find_columns,
    flaw_of_columns,
    known_fields,
    merge,
)
from fdrd.sources.reading.lines import (
    DELIMITERS,
    Line,
    Lines,
    each_line,
    header_of,
    read_jsonl,
    read_separated,
)
from fdrd.sources.reading.source_folder import RejectedError, SourceFolder, fills_memory

TABLES = (*DELIMITERS, ".jsonl", ".parquet")
MAX_READ = 4 * MAX_COLUMNS  # columns that fdrd does not know; most of a few rows may be null
ROWS = 64  # converted to objects at a time
_SCALARS = "string large_string boolean integer floating date timestamp time decimal".split()


def columns_of_table(folder: SourceFolder, file: str) -> list[str]:
    """Return the names of the columns, none if the file cannot be read."""
    if not _is_binary(file):
        return header_of(folder, file)
    try:
        with ExitStack() as stack:
            return list(_open(folder, file, stack).schema.names)
    except (OSError, ValueError, RejectedError, pa.ArrowException):
        return []


def read_table(folder: SourceFolder, file: str) -> Lines:
    """Yield each row with its fields under the names of `reading.columns.COLUMNS`.

    In rows of Parquet and Arrow files, `image` is a path from a text column or from an image struct of `datasets`, or
    None. If there are image bytes, `image_column` names their column.
    """
    if _is_binary(file):
        return _read_rows(folder, file)

    def known(line: Line) -> list[Line]:
        return [Line(file, line.key, known_fields(line.fields, folder.options))]

    return each_line(_raw_rows(folder, file), known)


def table_flaw(folder: SourceFolder, file: str, *fields: str) -> str | None:
    """Return which of these fields a table lacks, and the option that names their columns; None if it has all."""
    columns = columns_of_table(folder, file)
    if not columns:
        return f"{file} has no columns that can be read"
    raw = () if _is_binary(file) else islice(_raw_rows(folder, file), 20)
    rows = (line.fields for line in raw if isinstance(line, Line))
    return flaw_of_columns(file, columns, rows, fields, folder.options)


def _raw_rows(folder: SourceFolder, file: str) -> Lines:
    """Yield the rows of a file of lines under their own names."""
    return (read_jsonl if file.lower().endswith(".jsonl") else read_separated)(folder, file)


def _is_binary(file: str) -> bool:
    return file.lower().endswith((".parquet", ".arrow"))


def _read_rows(folder: SourceFolder, file: str) -> Lines:
    """Yield the rows of a Parquet or Arrow file; an error ends the file with a rejection."""
    count = 0
    try:
        with ExitStack() as stack:
            table = _open(folder, file, stack)
            columns = _Columns.find(table.schema, folder)
            if folder.in_archive(file) and columns.has_bytes:
                raise ValueError("images in rows are not read inside of an archive; unpack it")
            for batch in table.batches(columns.read):
                for row in columns.rows(batch):
                    line = Line(file, f"row {count}", row)
                    yield from each_line([line], columns.with_class_names)
                    count += 1
    except PermissionError as error:
        yield Rejection(file, "", "path_outside", str(error))
    except RejectedError as error:
        yield Rejection(file, "", *error.args)
    except (OSError, ValueError, pa.ArrowException) as error:
        key = f"from row {count} on" if count else ""
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
    return _open_parquet(stack.enter_context(folder.open(file)), stack)


def _open_parquet(source: Path | IO[bytes], stack: ExitStack) -> _Table:
    size = source.stat().st_size if isinstance(source, Path) else source.seek(0, os.SEEK_END)
    # By default a whole row group, possibly the whole file, would be read into memory.
    file = stack.enter_context(pq.ParquetFile(source, pre_buffer=False, buffer_size=2**20))
    about = file.metadata
    total = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
    if about.num_rows > size or fills_memory(total, size):
        raise ValueError(f"{about.num_rows} rows in {size} bytes would fill the memory")
    return _Table(
        file.schema_arrow,
        lambda names: file.iter_batches(ROWS, columns=names, use_threads=False),
    )


def _open_arrow(path: Path, stack: ExitStack) -> _Table:
    schema, batches = open_arrow(stack.enter_context(pa.memory_map(str(path))))

    def checked(_: list[str]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            # Offsets in an untrusted file may point anywhere; image bytes are not read for this.
            batch.validate(full=True)
            yield from (batch.slice(start, ROWS) for start in range(0, batch.num_rows, ROWS))

    return _Table(schema, checked)


@dataclass(frozen=True, slots=True)
class _Columns:
    """What the columns of a table hold.

    `image` is the column of the images. It holds paths, or bytes (`has_bytes`), possibly in a struct with their path
    (`has_path`). `fields` are the columns of each other field, `extra` those that fdrd does not know and can keep, and
    `nested` the others, with `NESTED` as their value. `labels` are class names that `datasets` stored, by column.
    """

    image: str
    has_bytes: bool
    has_path: bool
    fields: dict[str, tuple[str, ...]]
    extra: list[str]
    nested: dict[str, tuple[()]]
    labels: dict[str, list[str]]

    @classmethod
    def find(cls, schema: pa.Schema, folder: SourceFolder) -> "_Columns":
        """Return the columns of a schema. Raise `ValueError` if none holds images."""
        fields = find_columns(schema.names, folder.options)
        used = {name for names in fields.values() for name in names}
        if "image" not in fields:
            raise ValueError(f"no column for the image; the columns are {', '.join(schema.names)}")
        (image,) = fields.pop("image")
        kind = _plain_type(schema.field(image).type)
        has_bytes = not (types.is_string(kind) or types.is_large_string(kind))
        inner = {"bytes": kind}
        if types.is_struct(kind):
            times = Counter(part.name for part in kind)
            inner = {part.name: part.type for part in kind if times[part.name] == 1}
        content = inner.get("bytes", pa.null())
        if has_bytes and not (types.is_binary(content) or types.is_large_binary(content)):
            raise ValueError(f"the column {image!r} holds {kind}, no path and no bytes")
        times = Counter(schema.names)
        unknown = [field for field in schema if field.name not in used]
        single = [field for field in unknown if _is_scalar(field.type) and times[field.name] == 1]
        # Parquet would take "image.bytes" for a part of the column "image".
        extra = [field.name for field in single if not field.name.startswith(f"{image}.")]
        extra = extra[:MAX_READ]
        nested = {field.name: NESTED for field in unknown if field.name not in extra}
        return cls(image, has_bytes, "path" in inner, fields, extra, nested, _labels(schema))

    @property
    def read(self) -> list[str]:
        """Columns to read: all but the bytes of images."""
        names = chain.from_iterable(self.fields.values())
        path = f"{self.image}.path" if self.has_path else self.image
        return [*names, *self.extra, *([path] if self.has_path or not self.has_bytes else [])]

    def rows(self, batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
        """Yield the fields of each row of a batch, without image bytes."""
        paths: list[str | None] = [None] * batch.num_rows
        if self.has_path:
            paths = batch.column(self.image).field("path").to_pylist()
        elif not self.has_bytes:
            paths = batch.column(self.image).to_pylist()
        values = {
            field: [batch.column(name).to_pylist() for name in names]
            for field, names in self.fields.items()
        }
        unknown = {name: batch.column(name).to_pylist() for name in self.extra}
        bytes_in = {"image_column": self.image} if self.has_bytes else {}
        for index, path in enumerate(paths):
            fields = {name: merge([cell[index] for cell in some]) for name, some in values.items()}
            extra = {name: self._class_name(name, each[index]) for name, each in unknown.items()}
            yield {**fields, "image": path, "extra": self.nested | extra, **bytes_in}

    def with_class_names(self, line: Line) -> list[Line]:
        """Return the row with class names instead of numbers in its fields."""
        for field, (column, *_) in self.fields.items():
            value, names = line.fields[field], self.labels.get(column)
            if names is not None and isinstance(value, int):
                if not 0 <= value < len(names):
                    detail = f'"{field}" is class {value}, of {len(names)}'
                    raise RejectedError("bad_field", detail)
                line.fields[field] = names[value]
        return [line]

    def _class_name(self, column: str, value: object) -> object:
        names = self.labels.get(column, ())
        return names[value] if isinstance(value, int) and 0 <= value < len(names) else value


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """Return a type, for a dictionary that of its values."""
    return kind.value_type if types.is_dictionary(kind) else kind


def _is_scalar(kind: pa.DataType) -> bool:
    """Return whether a column may be an extra column (`reading.columns`)."""
    return any(getattr(types, f"is_{name}")(_plain_type(kind)) for name in _SCALARS)


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
