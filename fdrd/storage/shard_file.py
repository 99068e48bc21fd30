"""Read and write shard files: batches of rows as an Arrow stream or as Parquet.

The cache of `datasets` holds Arrow and maps it into memory. Parquet is smaller, and the Hub can show it.
Both store the same image bytes. Only Parquet has a column with the name of the category, for SQL and other
tools. It repeats `category`, so readers here leave it out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
import pyarrow as pa

from fdrd.columns import CATEGORY_NAME, arrow_schema, extra_in_schema
from fdrd.record import category_name

Writer = Callable[[pa.Table, Sequence[bytes]], None]
"""Takes rows that have the names of image files (`named_images`), and as many images."""
PARQUET = ".parquet"
_FEATURES = b"huggingface"  # key of the metadata of `datasets`


@contextmanager
def open_shard(file: IO[bytes], schema: pa.Schema, format: str) -> Iterator[Writer]:
    """Open a shard for writing and yield a function that writes one batch: its rows, and its images.

    Each batch becomes one record batch or row group. The batch size therefore bounds the memory of a
    reader, and no column reaches the 2 GiB limit of Arrow's offsets.
    """
    if format == "parquet":
        import pyarrow.parquet as pq

        schema = arrow_schema(class_names(schema), extra_in_schema(schema), named=True)
        writer = pq.ParquetWriter(
            file,
            schema,
            compression="zstd",
            use_dictionary=["category", CATEGORY_NAME, "meta_category", "domain", "source.license"],
            write_page_index=True,
        )
    else:
        writer = pa.ipc.new_stream(file, schema)
    with writer:
        yield lambda rows, images: writer.write_table(_with_images(rows, images, schema))


def encode_row(row: Mapping[str, Any]) -> bytes:
    """Return a row as JSON, with the name of its image file instead of the image."""
    return msgspec.json.encode({**row, "image": row["image"]["path"]})


def with_name(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return a row with the column that only Parquet has; `names` are the categories."""
    return {**row, CATEGORY_NAME: category_name(row["category"], names) or None}


def read_schema(path: Path) -> pa.Schema:
    """Return the schema of a shard with the metadata that `datasets` reads."""
    if path.suffix == PARQUET:
        import pyarrow.parquet as pq

        return _without_names(pq.read_schema(path))
    with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
        return stream.schema


def read_batches(path: Path, *, images: bool = True) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a shard batch by batch, with or without the image bytes."""
    if path.suffix == PARQUET:
        import pyarrow.parquet as pq

        with pq.ParquetFile(path, memory_map=True) as file:
            left_out = {CATEGORY_NAME} if images else {CATEGORY_NAME, "image"}
            names = [name for name in file.schema_arrow.names if name not in left_out]
            for group in range(file.num_row_groups):
                yield from file.read_row_group(group, columns=names).to_batches()
        return
    with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
        for batch in stream:
            yield batch if images else batch.drop_columns(["image"])


def named_images(schema: pa.Schema) -> pa.Schema:
    """Return the schema of rows that have the name of their image file instead of the image."""
    index = schema.get_field_index("image")
    return schema.set(index, pa.field("image", pa.string()))


def _with_images(rows: pa.Table, images: Sequence[bytes], schema: pa.Schema) -> pa.Table:
    """Return rows with the bytes of their images."""
    index = schema.get_field_index("image")
    ends = np.cumsum([0, *map(len, images)], dtype=np.int32)
    data = pa.BinaryArray.from_buffers(
        pa.binary(), len(images), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(images))]
    )
    rows = rows.combine_chunks()
    (names,) = rows["image"].chunks
    image = pa.StructArray.from_arrays([data, names], fields=list(schema.field(index).type))
    # No cast: it imports all of `pyarrow.compute`, and the writer compares the schemas.
    return rows.set_column(index, schema.field(index), image)


def class_names(schema: pa.Schema) -> list[str]:
    """Return the categories that the metadata of a schema lists."""
    names: list[str] = json.loads(schema.metadata[_FEATURES])["info"]["features"]["category"][
        "names"
    ]
    return names


def _without_names(schema: pa.Schema) -> pa.Schema:
    """Return a schema as it is in an Arrow shard."""
    if CATEGORY_NAME not in schema.names:
        return schema
    found = json.loads(schema.metadata[_FEATURES])
    found["info"]["features"].pop(CATEGORY_NAME, None)
    metadata = {**schema.metadata, _FEATURES: json.dumps(found).encode()}
    return schema.remove(schema.get_field_index(CATEGORY_NAME)).with_metadata(metadata)
