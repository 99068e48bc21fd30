"""A list of msgspec structs in a file, for lists that are too long for memory."""

from __future__ import annotations

import os
import platform
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Generic, Self, TypeVar, overload

import msgspec
import numpy as np
import numpy.typing as npt

from fdrd.errors import FdrdError

T = TypeVar("T")
S = TypeVar("S")
_BLOCK = 2**20  # bytes read or written together


class StructFile(Sequence[T], Generic[T]):
    """A list of structs of one type that can be appended to. Eight bytes per struct stay in memory.

    The file is read with `pread`, not mapped: pages that a map has touched count as memory of the process.
    """

    def __init__(self, path: Path, type: type[T]):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path.absolute()
        self.ends = array("q", [0])
        self._type = type
        self._file = path.open("w+b", buffering=0)
        self._waiting = bytearray()
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(type)

    def __enter__(self) -> Self:
        """Return the list."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the file."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def append(self, value: T) -> None:
        """Add a struct at the end."""
        data = self._encoder.encode(value)
        self._waiting += data
        self.ends.append(self.ends[-1] + len(data))
        if len(self._waiting) >= _BLOCK:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting, so that other processes can read all structs."""
        while self._waiting:
            written = self._file.write(self._waiting)
            del self._waiting[:written]

    def sync(self) -> None:
        """Write all structs to the disk, so that other machines can read them."""
        self.flush()
        os.fsync(self._file.fileno())

    def __len__(self) -> int:
        """Return the number of structs."""
        return len(self.ends) - 1

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        """Return one struct, or a list of several."""
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        return self._decoder.decode(self._read(index))

    def read_as(self, index: int, decoder: msgspec.msgpack.Decoder[S]) -> S:
        """Return some fields of a struct: those that the type of the decoder has."""
        return decoder.decode(self._read(index))

    def __iter__(self) -> Iterator[T]:
        """Yield all structs."""
        self.flush()
        return iter(StructRange(str(self.path), self._type, self.ends))

    def range(self, start: int, stop: int) -> StructRange[T]:
        """Return neighboring structs in a form that can be sent to another process."""
        self.flush()
        return StructRange(str(self.path), self._type, self.ends[start : stop + 1])

    def shared(self) -> StructRange[T]:
        """Return all structs in a form that can be sent to another machine."""
        self.sync()
        return self.range(0, len(self))

    def _read(self, index: int) -> bytes:
        if not 0 <= index < len(self):
            raise IndexError(index)
        if self._waiting:
            self.flush()
        return _read(self._file, self.ends[index], self.ends[index + 1])


def _read(file: IO[bytes], start: int, end: int) -> bytes:
    data = os.pread(file.fileno(), end - start, start)
    while start + len(data) < end and (
        more := os.pread(file.fileno(), end - start - len(data), start + len(data))
    ):
        data += more  # the system may return less than asked for
    return data


class Selection(Sequence[T], Generic[T]):
    """Some values of a sequence, in any order. They are looked up when they are used."""

    def __init__(self, values: Sequence[T], indices: npt.NDArray[np.int64]):
        self._values = values
        self._indices = indices

    def __len__(self) -> int:
        """Return the number of selected values."""
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Selection[T]: ...
    def __getitem__(self, index: int | slice) -> T | Selection[T]:
        """Return one value, or a selection of several."""
        if isinstance(index, slice):
            return Selection(self._values, self._indices[index])
        return self._values[int(self._indices[index])]

    def __iter__(self) -> Iterator[T]:
        """Yield the selected values."""
        return map(self._values.__getitem__, self._indices.tolist())


@dataclass(frozen=True)
class StructRange(Sequence[T], Generic[T]):
    """Neighboring structs of a `StructFile`, which are read while they are used, also in other processes."""

    path: str
    type: type[T]
    ends: array[int]
    """where the first one starts, and where each one ends"""

    def __len__(self) -> int:
        """Return the number of structs."""
        return len(self.ends) - 1

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        """Return one struct, or a list of several."""
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._decoder.decode(_read(self._file, self.ends[index], self.ends[index + 1]))

    def __iter__(self) -> Iterator[T]:
        """Yield the structs."""
        with self._open(_BLOCK) as file:
            start = self.ends[0]
            file.seek(start)
            for end in memoryview(self.ends)[1:]:
                yield self._decoder.decode(file.read(end - start))
                start = end

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the open file."""
        return {"path": self.path, "type": self.type, "ends": self.ends}

    @cached_property
    def _decoder(self) -> msgspec.msgpack.Decoder[T]:
        return msgspec.msgpack.Decoder(self.type)

    @cached_property
    def _file(self) -> IO[bytes]:
        return self._open(0)

    def _open(self, buffering: int) -> IO[bytes]:
        try:
            return Path(self.path).open("rb", buffering=buffering)
        except FileNotFoundError:
            raise FdrdError(
                f"{platform.node()} does not see {self.path}; all machines must see --out under the same path"
            ) from None
