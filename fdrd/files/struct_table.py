"""Structs as rows of Arrow files, for lists that are too long for memory. The files are mapped into memory."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Generic, Self, TypeVar, get_origin, overload

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec.structs import replace

from fdrd.columns import struct_schema
from fdrd.errors import FdrdError

T = TypeVar("T", bound=msgspec.Struct)
S = TypeVar("S", bound=msgspec.Struct)
Indices = npt.NDArray[np.signedinteger[Any]]

BATCH = 1024  # rows of a record batch; the last one of a file may have fewer
_TAKEN = 64 * BATCH  # rows selected together: each selection looks at all batches of the file


@dataclass(frozen=True, slots=True)
class StructTable(Sequence[T], Generic[T]):
    """Neighboring rows of an Arrow file, which are read while they are used, also in other processes."""

    path: str
    row_type: type[T]
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                return list(islice(self, start, stop, step))
            return self.part(start, max(start, stop))
        if not 0 <= index < len(self):
            raise IndexError(index)
        (found,) = self.part(index, index + 1)
        return found

    def part(self, start: int, stop: int) -> StructTable[T]:
        """Return some neighboring rows."""
        return StructTable(self.path, self.row_type, self.start + start, self.start + stop)

    def __iter__(self) -> Iterator[T]:
        for batch in self.batches():
            yield from self._structs(batch)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in record batches; without rows an empty one, which has the columns, too."""
        if not len(self):
            yield pa.RecordBatch.from_pylist([], struct_schema(self.row_type))
        status = _check_visible(self.path)
        batches = _batches(self.path, (status.st_ino, status.st_mtime_ns))
        for index in range(self.start // BATCH, -(-self.stop // BATCH)):
            first = index * BATCH
            start, stop = max(self.start - first, 0), min(self.stop - first, BATCH)
            yield batches[index].slice(start, stop - start)

    def table(self, *columns: str) -> pa.Table:
        """Return the rows as a table, by default with all columns."""
        table = pa.Table.from_batches(self.batches(), struct_schema(self.row_type))
        return table.select(columns) if columns else table

    def take(self, rows: Indices) -> Iterator[T]:
        """Yield the structs of these rows, in this order."""
        for part in _taken(self.table(), rows):
            for batch in part.to_batches(BATCH):
                yield from self._structs(batch)

    def copy(self, path: Path, rows: Indices, type: type[S]) -> StructTable[S]:
        """Write these rows in this order to another file, with the fields that `type` has."""
        table = self.table(*type.__struct_fields__)
        with path.open("wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            for part in _taken(table, rows):
                writer.write_table(part, BATCH)
        return StructTable(str(path.absolute()), type, 0, len(rows))

    def _structs(self, batch: pa.RecordBatch) -> list[T]:
        rows = batch.to_pylist()
        for name in _dicts(self.row_type):
            for row in rows:
                row[name] = msgspec.json.decode(row[name])
        return msgspec.convert(rows, list[self.row_type])  # type: ignore[name-defined]


class StructWriter(Generic[T]):
    """Writes structs of one type to an Arrow file. A context manager: it removes the file at the end."""

    def __init__(self, path: Path, type: type[T]):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path.absolute()
        self._type = type
        self._schema = struct_schema(type)
        self._lines: list[bytes] = []
        self._written = 0
        self._file = path.open("wb")
        self._writer = pa.ipc.new_file(self._file, self._schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _batches.cache_clear()
        self._file.close()
        self._path.unlink(missing_ok=True)

    def __len__(self) -> int:
        return self._written + len(self._lines)

    def append(self, value: T) -> None:
        """Add a struct."""
        for name in _dicts(self._type):
            text = msgspec.json.encode(getattr(value, name)).decode()
            value = replace(value, **{name: text})
        self._lines.append(msgspec.json.encode(value))
        if len(self._lines) == BATCH:
            self._write()

    def finish(self) -> StructTable[T]:
        """Write what is waiting, and return all structs."""
        self._write()
        self._writer.close()
        self._file.close()
        return StructTable(str(self._path), self._type, 0, self._written)

    def _write(self) -> None:
        if self._lines:
            self._writer.write_table(parse_rows(self._lines, self._schema), BATCH)
            self._written += len(self._lines)
            self._lines = []


def parse_rows(lines: Sequence[bytes], schema: pa.Schema) -> pa.Table:
    """Return JSON objects as a table of one chunk.

    `Table.from_pylist` is slower, and imports pandas, which takes half a second in each process.
    """
    from pyarrow import json

    text = b"\n".join(lines)
    table = json.read_json(
        pa.BufferReader(text),
        json.ReadOptions(use_threads=False, block_size=len(text) + 1),
        json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
    )
    return table.replace_schema_metadata(schema.metadata)


def read_table(path: str) -> pa.Table:
    """Return an Arrow file as a table that is mapped into memory; raise `FdrdError` if this machine does not see it."""
    _check_visible(path)
    with pa.ipc.open_file(pa.memory_map(path)) as reader:
        return reader.read_all()


def arrow_array(values: npt.NDArray[Any]) -> pa.Array:
    """Return numbers as an Arrow array without copying them; `pa.array` imports pandas."""
    values = np.ascontiguousarray(values)
    type = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(type, len(values), [None, pa.py_buffer(values)])


@cache
def _dicts(type: type[msgspec.Struct]) -> tuple[str, ...]:
    """Return the fields that are dicts, whose columns hold their JSON: Arrow has no type for mixed values."""
    fields = msgspec.structs.fields(type)
    return tuple(each.name for each in fields if get_origin(each.type) is dict)


def _taken(table: pa.Table, rows: Indices) -> Iterator[pa.Table]:
    """Yield these rows in this order, a bounded number at a time."""
    for start in range(0, len(rows), _TAKEN):
        yield table.take(arrow_array(rows[start : start + _TAKEN])).combine_chunks()


def _check_visible(path: str) -> os.stat_result:
    try:
        return Path(path).stat()
    except FileNotFoundError:
        raise FdrdError(
            f"{platform.node()} does not see {path}; all machines must see `out` under the same path"
        ) from None


@lru_cache(maxsize=4)
def _batches(path: str, _state: tuple[int, int]) -> Sequence[pa.RecordBatch]:
    """Return the batches of a file, which was opened before if it did not change."""
    with pa.ipc.open_file(pa.memory_map(path)) as reader:
        return [reader.get_batch(index) for index in range(reader.num_record_batches)]
