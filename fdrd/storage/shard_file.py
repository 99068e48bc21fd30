"""Read and write shard files: batches of rows as an Arrow stream or as Parquet.

The cache of `datasets` holds Arrow and maps it into memory. Parquet is smaller, and the Hub can show it.
Both store the same image bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

Rows = list[dict[str, Any]]
PARQUET = ".parquet"


@contextmanager
def open_shard(file: IO[bytes], schema: pa.Schema, format: str) -> Iterator[Callable[[Rows], None]]:
    """Open a shard for writing and yield a function that writes one batch of rows.

    Each batch becomes one record batch or row group. The batch size therefore bounds the memory of a
    reader, and no column reaches the 2 GiB limit of Arrow's offsets.
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
    """Return the schema of a shard with the metadata that `datasets` reads."""
    if path.suffix == PARQUET:
        import pyarrow.parquet as pq

        return pq.read_schema(path)
    with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
        return stream.schema


def read_batches(path: Path, *, images: bool = True) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a shard batch by batch, with or without the image bytes."""
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
