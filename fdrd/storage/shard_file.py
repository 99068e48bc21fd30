"""A shard as a file: batches of rows written as an Arrow stream or as Parquet, and read back.

Arrow is what the cache of `datasets` holds and maps into memory. Parquet is smaller and what the Hub shows. The
bytes of images are the same in both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

Rows = list[dict[str, Any]]
PARQUET = ".parquet"


@contextmanager
def open_shard(file: IO[bytes], schema: pa.Schema, format: str) -> Iterator[Callable[[Rows], None]]:
    """A function that writes a batch of rows; the shard is whole when the block ends.

    Each batch becomes a record batch or a row group of its own, so its bytes bound what a reader holds, and
    no column of it comes near the 2 GiB that Arrow's offsets reach.
    """
    if format == "parquet":
        import pyarrow.parquet as pq

        writer = pq.ParquetWriter(
            file,
            schema,
            compression="zstd",
            use_dictionary=["category", "meta_category", "domain", "source.license"],
            write_page_index=True,
        )
    else:
        writer = pa.ipc.new_stream(file, schema)
    with writer:
        yield lambda rows: writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def read_schema(path: Path) -> pa.Schema:
    """The columns of a shard, with the metadata that `datasets` reads."""
    if path.suffix == PARQUET:
        import pyarrow.parquet as pq

        return pq.read_schema(path)
    with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
        return stream.schema


def read_batches(path: Path, *, images: bool = True) -> Iterator[pa.RecordBatch]:
    """The rows of a shard, a batch at a time, with or without the bytes of the images."""
    if path.suffix == PARQUET:
        import pyarrow.parquet as pq

        with pq.ParquetFile(path, memory_map=True) as file:
            names = [name for name in file.schema_arrow.names if images or name != "image"]
            for group in range(file.num_row_groups):
                yield from file.read_row_group(group, columns=names).to_batches()
        return
    with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
        for batch in stream:
            yield batch if images else batch.drop_columns(["image"])


def row_text(row: Mapping[str, Any]) -> bytes:
    """All that a row says but for the bytes of its image, for which their digest in `source` stands."""
    said = {**row, "image": row["image"]["path"]}
    return json.dumps(said, sort_keys=True, ensure_ascii=False).encode()


def row_digest(text: bytes) -> str:
    """The digest of a row that says `text`."""
    return hashlib.sha256(text).hexdigest()


def digests_path(shard: str) -> str:
    """Where the digests of a shard's rows lie: a line for each row, with its id.

    >>> digests_path("data/pets/test-00000-of-00001.arrow")
    'digests/pets/test-00000-of-00001.txt'
    """
    return f"digests/{shard.removeprefix('data/').rpartition('.')[0]}.txt"
