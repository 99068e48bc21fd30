"""Read images inside of other files, which the `member` of an `ImageRef` locates.

`OFFSET+SIZE NAME` is a stored member of a tar or zip archive, `OFFSET+COMPRESSED=SIZE NAME` a deflated one of
a zip archive, and `ROW of COLUMN` a row of a Parquet or Arrow file. Random access is fast in all of them:
members are read at the offset, an Arrow file through a memory map. A Parquet file is unpacked once into an
Arrow file below `cache_folder()`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal, NamedTuple

from fdrd.files.atomic import atomic_write
from fdrd.files.paths import cache_folder
from fdrd.record import ImageRef

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 32  # unpacked at a time, a few MB of images


def tar_member(offset: int, size: int, name: str) -> str:
    """Return the member of a tar archive whose bytes begin at `offset`."""
    return f"{offset}+{size} {name}"


def deflated_member(offset: int, compressed: int, size: int, name: str) -> str:
    """Return the deflated member of a zip archive whose compressed bytes begin at `offset`."""
    return f"{offset}+{compressed}={size} {name}"


def row_member(row: int, column: str) -> str:
    """Return the member for a row, counted from 0, of a column of bytes or of `datasets` images."""
    return f"{row} of {column}"


def member_name(member: str) -> str:
    """Return a file name for the member, without folders.

    >>> member_name(tar_member(512, 9, "a/b.jpg")), member_name(row_member(7, "image"))
    ('b.jpg', '7')
    """
    position, _, name = member.partition(" ")
    return PurePosixPath(name).name if "+" in position else position


def path_in_source(image: ImageRef) -> str:
    """Return the path of an image as readers see it: a member is a file of the folder that holds its archive.

    >>> path_in_source(ImageRef("birds/a.zip", tar_member(5, 7, "wren/1.jpg")))
    'birds/wren/1.jpg'
    >>> path_in_source(ImageRef("a.parquet", row_member(7, "image"))), path_in_source(ImageRef("wren/1.jpg"))
    ('a.parquet#7', 'wren/1.jpg')
    """
    position, _, name = image.member.partition(" ")
    if "+" in position:
        return (PurePosixPath(image.path).parent / name.removeprefix("./")).as_posix()
    return f"{image.path}#{position}" if image.member else image.path


def read_member(file: Path, member: str) -> bytes:
    """Return the bytes of an image inside of `file`.

    Raise `LookupError` if the row has no image, and `OSError` if the file cannot be read or has another format than its
    name says.
    """
    position, _, name = member.partition(" ")
    offset, plus, sizes = position.partition("+")
    if not plus:
        return _read_row(file, int(position), name.removeprefix("of "))
    stored, _, size = sizes.partition("=")
    data = _read_at(file, int(offset), int(stored))
    return _inflate(data, int(size), file) if size else data


def remove_unpacked(files: Iterable[Path]) -> None:
    """Remove what reading rows of these Parquet files left in the cache."""
    for file in filter(Path.is_file, files):
        for unpacked in (cache_folder() / "rows").glob(f"{_identity(file)}-*"):
            unpacked.unlink(missing_ok=True)


def _read_at(file: Path, offset: int, size: int) -> bytes:
    with file.open("rb") as opened:
        opened.seek(offset)
        data = opened.read(size)
    if len(data) < size:
        raise OSError(errno.EIO, "the file ends inside of the image", str(file))
    return data


def _inflate(data: bytes, size: int, file: Path) -> bytes:
    """Return deflated bytes; more than `size` of them are never made."""
    try:
        image = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
    except zlib.error as error:
        raise OSError(errno.EIO, f"the member cannot be inflated: {error}", str(file)) from error
    if len(image) != size:
        raise OSError(errno.EIO, f"the member does not have {size} bytes", str(file))
    return image


def _read_row(file: Path, row: int, column: str) -> bytes:
    import pyarrow as pa

    try:
        mapped, name = file, column
        if file.suffix.lower() == ".parquet":
            mapped, name = _unpacked(file, column), "bytes"
        status = mapped.stat()
        rows = _mapped(str(mapped), status.st_mtime_ns, name)
        batch = bisect_right(rows.starts, row) - 1
        values, at = rows.columns[batch], row - rows.starts[batch]
        valid = values[at].is_valid if values.null_count else at < len(values)
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise OSError(errno.EIO, f"the rows cannot be read: {error}", str(file)) from error
    if not valid:
        raise LookupError(f"row {row} of {column} is empty")
    address, size = _address(values, at)
    if 0 <= address - rows.address <= status.st_size - size:
        return _read_at(mapped, address - rows.address, size)
    return bytes(values[at].as_py())  # of a compressed batch


def open_arrow(source: pa.NativeFile) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Return schema and record batches of an Arrow file or stream."""
    import pyarrow as pa

    source.seek(0)
    is_file = source.read(6) == b"ARROW1"
    source.seek(0)
    if not is_file:
        stream = pa.ipc.open_stream(source)
        return stream.schema, iter(stream)
    file = pa.ipc.open_file(source)
    return file.schema, map(file.get_batch, range(file.num_record_batches))


class _Rows(NamedTuple):
    """A mapped file: its address, and the first row and the image column of each record batch."""

    address: int
    starts: list[int]
    columns: list[pa.Array]


@lru_cache(maxsize=64)
def _mapped(file: str, changed: int, column: str) -> _Rows:
    import pyarrow as pa

    source = pa.memory_map(file)
    address = source.read_buffer(1).address
    starts, columns, rows = [], [], 0
    for batch in open_arrow(source)[1]:
        values = batch.column(column)
        # Offsets in an untrusted file may point anywhere.
        values.validate(full=True)
        if pa.types.is_struct(values.type):
            # `flatten` gives a row without a struct no bytes, which `field` would not.
            values = values.flatten()[values.type.get_field_index("bytes")]
        if not isinstance(values, pa.BinaryArray | pa.LargeBinaryArray):
            raise ValueError(f"{column} holds {values.type}, not bytes")
        if batch.num_rows:
            starts.append(rows)
            columns.append(values)
            rows += batch.num_rows
    return _Rows(address, starts, columns)


def _address(values: pa.Array, row: int) -> tuple[int, int]:
    """Return address and size of a value. It is read from the file: mapped pages would count as memory."""
    import pyarrow as pa

    _, offsets, data = values.buffers()
    kind: Literal["q", "i"] = "q" if isinstance(values, pa.LargeBinaryArray) else "i"
    start, end = memoryview(offsets).cast("b").cast(kind)[values.offset + row :][:2]
    return (data.address if data else 0) + start, end - start


def _unpacked(file: Path, column: str) -> Path:
    """Return an Arrow file with the images of a Parquet file. Only one process writes it, others wait."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from filelock import FileLock

    folder = cache_folder() / "rows"
    digest = hashlib.sha256(column.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    target = folder / f"{_identity(file)}-{digest}.arrow"
    if target.is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_suffix(".lock")):
        if target.is_file():
            return target
        schema = pa.schema({"bytes": pa.binary()})
        # Without these two options a whole row group is read into memory.
        with pq.ParquetFile(file, pre_buffer=False, buffer_size=2**20) as parquet:
            struct = pa.types.is_struct(parquet.schema_arrow.field(column).type)
            wanted = [f"{column}.bytes"] if struct else [column]
            with atomic_write(target) as out, pa.ipc.new_stream(out, schema) as stream:
                for batch in parquet.iter_batches(_ROWS, columns=wanted, use_threads=False):
                    values = batch.column(0)
                    data = values.field("bytes") if struct else values
                    stream.write_batch(pa.record_batch([data.cast(pa.binary())], schema=schema))
    return target


def _identity(file: Path) -> str:
    """Return a name that changes when the file does."""
    status = file.stat()
    text = f"{os.path.realpath(file)} {status.st_size} {status.st_mtime_ns}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
