"""Images inside of other files: what the `member` of an `ImageRef` means, and how its bytes are read.

`OFFSET+SIZE NAME` is a member of an uncompressed tar archive, `ROW of COLUMN` a row of a Parquet or Arrow
file. Any order costs the same: a tar is read at the offset, an Arrow file is mapped into memory, and a
Parquet file, which has no such access, is unpacked once into a mapped one below `cache_folder()`.
"""

from __future__ import annotations

import errno
import hashlib
import os
from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from fdrd.atomic import replacing
from fdrd.last_build import cache_folder

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 32  # unpacked at a time: a few MB of pictures


def tar_member(offset: int, size: int, name: str) -> str:
    """The member of a tar whose bytes begin at `offset`."""
    return f"{offset}+{size} {name}"


def row_member(row: int, column: str) -> str:
    """The row, counted from 0, of a column of bytes, or of `datasets`' structs of bytes and path."""
    return f"{row} of {column}"


def member_name(member: str) -> str:
    """A file name for the member, without folders.

    >>> member_name(tar_member(512, 9, "a/b.jpg")), member_name(row_member(7, "image"))
    ('b.jpg', '7')
    """
    place, _, name = member.partition(" ")
    return PurePosixPath(name).name if "+" in place else place


def read_member(file: Path, member: str) -> bytes:
    """The bytes of an image inside of `file`.

    Raises:
        LookupError: the row or member holds none.
        OSError: the file cannot be read, or is not what its name says.
    """
    place, _, name = member.partition(" ")
    if "+" in place:
        offset, size = map(int, place.split("+"))
        with file.open("rb") as archive:
            archive.seek(offset)
            data = archive.read(size)
        if len(data) < size:
            raise OSError(errno.EIO, "the archive ends inside of the member", str(file))
        return data
    return _read_row(file, int(place), name.removeprefix("of "))


def forget_unpacked(files: Iterable[Path]) -> None:
    """Removes what reading rows of these Parquet files left in the cache."""
    for file in filter(Path.is_file, files):
        for unpacked in (cache_folder() / "rows").glob(f"{_identity(file)}-*"):
            unpacked.unlink(missing_ok=True)


def _read_row(file: Path, row: int, column: str) -> bytes:
    import pyarrow as pa

    try:
        mapped, name = file, column
        if file.suffix.lower() == ".parquet":
            mapped, name = _unpacked(file, column), "bytes"
        starts, batches = _mapped(str(mapped), mapped.stat().st_mtime_ns, name)
        batch = bisect_right(starts, row) - 1
        found = batches[batch][row - starts[batch]].as_py()
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise OSError(errno.EIO, f"the rows cannot be read: {error}", str(file)) from error
    data = found.get("bytes") if isinstance(found, dict) else found
    if data is None:
        raise LookupError(f"row {row} of {column} is empty")
    return bytes(data)


@lru_cache(maxsize=64)
def _mapped(file: str, changed: int, column: str) -> tuple[list[int], list[pa.Array]]:
    """The first row and the column of every record batch; the pages stay on the disk until they are read."""
    import pyarrow as pa

    source = pa.memory_map(file)
    magic = source.read(6)
    source.seek(0)
    if magic == b"ARROW1":
        reader = pa.ipc.open_file(source)
        found = (reader.get_batch(number) for number in range(reader.num_record_batches))
    else:
        found = iter(pa.ipc.open_stream(source))
    starts, columns, rows = [], [], 0
    for batch in found:
        if batch.num_rows:
            starts.append(rows)
            # Bytes from a stranger may point anywhere; this looks at offsets, not at pictures.
            batch.column(column).validate(full=True)
            columns.append(batch.column(column))
            rows += batch.num_rows
    return starts, columns


def _unpacked(file: Path, column: str) -> Path:
    """An Arrow file with the images of a Parquet file. It is made once; processes wait for each other."""
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
        # Without these two a row group, which may be the whole file, is read into memory.
        with pq.ParquetFile(file, pre_buffer=False, buffer_size=2**20) as parquet:
            struct = pa.types.is_struct(parquet.schema_arrow.field(column).type)
            wanted = [f"{column}.bytes"] if struct else [column]
            with replacing(target) as out, pa.ipc.new_stream(out, schema) as stream:
                for batch in parquet.iter_batches(_ROWS, columns=wanted, use_threads=False):
                    values = batch.column(0)
                    data = values.field("bytes") if struct else values
                    stream.write_batch(pa.record_batch([data.cast(pa.binary())], schema=schema))
    return target


def _identity(file: Path) -> str:
    """A name that changes when the file does."""
    status = file.stat()
    real = os.path.realpath(file)
    text = f"{real} {status.st_size} {status.st_mtime_ns}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
