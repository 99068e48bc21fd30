"""Write shard files and read them, batches of rows as an Arrow stream or as Parquet, and check what is read.

The cache of `datasets` holds Arrow and maps it into memory. Parquet is smaller, and the Hub can show it. Both store the
same image bytes. Only Parquet has a column with the name of the category, for SQL and other tools. It repeats
`category`, so readers here leave it out.

A shard may be damaged or somebody else's: nothing is used before `check_rows` or `read_checked` found what would break
a reader, such as missing columns, nulls, class labels out of range, texts that become paths. `fdrd.checks.validation`
also compares digests, spans, negatives and splits.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
import pyarrow as pa

from fdrd.columns import CATEGORY_NAME, KNOWN_COLUMNS, ExtraTypes, arrow_schema, extra_in_schema
from fdrd.errors import FdrdError, first_line
from fdrd.files.paths import DIGEST, is_folder_name
from fdrd.record import KINDS, category_name
from fdrd.storage.manifest import Manifest, Shard

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
    columns = json.loads(schema.metadata[_FEATURES])["info"]["features"]
    return list(columns["category"]["names"])


def _without_names(schema: pa.Schema) -> pa.Schema:
    """Return a schema as it is in an Arrow shard."""
    if CATEGORY_NAME not in schema.names:
        return schema
    found = json.loads(schema.metadata[_FEATURES])
    found["info"]["features"].pop(CATEGORY_NAME, None)
    metadata = {**schema.metadata, _FEATURES: json.dumps(found).encode()}
    return schema.remove(schema.get_field_index(CATEGORY_NAME)).with_metadata(metadata)


REMEDY = "`fdrd validate` lists all problems; build the dataset again, or get an intact copy"
UNREADABLE = (OSError, pa.ArrowException, ValueError, KeyError, TypeError, AttributeError)
"""What reading a damaged shard raises."""

_MAY_BE_NULL = ("category", "image.path", "negatives.attribute_type")


class DamageError(FdrdError):
    """A file of a dataset is missing or damaged."""

    def __init__(self, path: object, what: str):
        super().__init__(f"{path}: {what}; {REMEDY}")


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with a row of a batch."""

    row: int
    what: str


def file_flaw(path: Path, size: int | None = None) -> str:
    """Return why a file cannot be a shard of this size in bytes, without reading it; empty if it can."""
    try:
        if path.is_dir():
            return "is a folder"
        if not path.is_file():
            return "is missing"
        found = path.stat().st_size
    except OSError as error:  # e.g. a link to itself
        return f"cannot be read ({error.strerror})"
    if size not in (None, found):
        return f"has {found:,} bytes, the manifest says {size:,}"
    return ""


def columns_flaw(found: pa.Schema, categories: Sequence[str]) -> str:
    """Return how columns differ from those of a dataset with these categories; empty if they do not."""
    for field in arrow_schema(categories):
        if field.name not in found.names:
            return f"the column {field.name} is missing"
        if found.field(field.name).type != field.type:
            return f"the column {field.name} has the type {found.field(field.name).type}, not {field.type}"
    return ""


def schema_flaw(
    found: pa.Schema, categories: Sequence[str], extra: ExtraTypes | None = None
) -> str:
    """Return how the schema of a shard differs from that of such a dataset, as `columns_flaw`.

    `extra` are the extra columns of its manifest; without them, the file says which there are.
    """
    if flaw := columns_flaw(found, categories):
        return flaw
    try:
        expected = arrow_schema(categories, extra_in_schema(found))
    except ValueError as error:
        return str(error)
    if not found.equals(expected) or found.metadata != expected.metadata:
        return "its columns or class labels are not those of the manifest"
    same = extra is None or extra_in_schema(found) == extra
    return "" if same else "its extra columns are not those of the manifest"


def row_flaws(
    batch: pa.RecordBatch | pa.Table, labels: int, domain: str | None = None
) -> list[Flaw]:
    """Return what would break a reader of these rows, which may lack their images.

    `labels` is the number of class labels, and `domain` the one of all rows, if it is known. Raise
    `pyarrow.ArrowInvalid` if a text is not UTF-8, or an offset is wrong.
    """
    import pyarrow.compute as pc

    batch.validate(full=True)
    flaws = [
        flaw
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
        for flaw in _nulls(name, column)
    ]
    category, names = batch["category"], batch["domain"]
    out_of_range = pc.or_(pc.less(category, 0), pc.greater_equal(category, labels))
    for row in pc.indices_nonzero(out_of_range).to_pylist():
        flaws.append(Flaw(row, f"class label {category[row]} is not one of {labels}"))
    is_digest = pc.match_substring_regex(pc.struct_field(batch["source"], "sha256"), f"^{DIGEST}$")
    for row in pc.indices_nonzero(pc.invert(is_digest)).to_pylist():
        flaws.append(Flaw(row, "source.sha256 is not 64 hexadecimal digits"))
    for name in pc.unique(names).drop_null().to_pylist():
        if not is_folder_name(name) or domain not in (None, name):
            text = f"domain {name[:100]!r}" + (f" in a shard of {domain!r}" if domain else "")
            rows = pc.indices_nonzero(pc.equal(names, name)).to_pylist()
            flaws += [Flaw(row, text) for row in rows]
    for name, noun in (("negatives", "a negative"), ("natural_pairs", "a natural pair")):
        kinds = pc.struct_field(pc.list_flatten(batch[name]), "kind")
        unknown = pc.invert(pc.is_in(kinds, pa.array(KINDS)))
        text = f"the kind of {noun} is not one of {', '.join(KINDS)}"
        rows = pc.filter(pc.list_parent_indices(batch[name]), unknown).to_pylist()
        flaws += [Flaw(row, text) for row in rows]
    return flaws


def read_checked(
    path: Path,
    shard: Shard | None = None,
    manifest: Manifest | None = None,
    *,
    images: bool = True,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a shard batch by batch, each after checking it, with or without the image bytes.

    Without a manifest and its entry (`shard`), e.g. for a copy in the cache of `datasets`, the file says which
    categories and extra columns there are. Raise `DamageError` if it is missing or damaged, or a row would break its
    reader.
    """
    names = manifest.categories if manifest else None
    return _read_checked(path, shard, names, manifest.columns if manifest else None, images=images)


def _read_checked(
    path: Path,
    shard: Shard | None,
    categories: Sequence[str] | None,
    extra: ExtraTypes | None,
    *,
    images: bool,
) -> Iterator[pa.RecordBatch]:
    if flaw := file_flaw(path, shard.bytes if shard else None):
        raise DamageError(path, flaw)
    read, domain = 0, shard.domain if shard else None
    try:
        schema = read_schema(path)
        names = class_names(schema) if categories is None else categories
        if flaw := schema_flaw(schema, names, extra):
            raise DamageError(path, flaw)
        for batch in read_batches(path, images=images):
            if found := row_flaws(batch, len(names), domain):
                raise DamageError(path, f"row {read + found[0].row}: {found[0].what}")
            read += batch.num_rows
            yield batch
    except UNREADABLE as error:
        raise DamageError(path, f"cannot be read ({first_line(error)})") from error
    if shard and read != shard.rows:
        raise DamageError(path, f"has {read:,} rows, the manifest says {shard.rows:,}")


def check_rows(path: Path, shard: Shard | None = None, manifest: Manifest | None = None) -> None:
    """Check all rows of a shard as `read_checked`; a file that did not change is checked once in a process."""
    state: tuple[int, ...] = ()
    with suppress(OSError):  # `read_checked` says why
        status = path.stat()
        state = (status.st_size, status.st_mtime_ns, status.st_ino)
    names = manifest and tuple(manifest.categories)
    columns = manifest and tuple(manifest.columns.items())
    _check_once(path, state, shard, names, columns)


@lru_cache(maxsize=1024)
def _check_once(
    path: Path,
    _state: tuple[int, ...],
    shard: Shard | None,
    names: tuple[str, ...] | None,
    columns: tuple[tuple[str, str], ...] | None,
) -> None:
    # The images of Parquet would have to be decompressed; whoever uses one checks it.
    extra = None if columns is None else dict(columns)
    for _ in _read_checked(path, shard, names, extra, images=path.suffix != PARQUET):
        pass


def _nulls(name: str, column: pa.Array | pa.ChunkedArray) -> Iterator[Flaw]:
    """Yield the rows in which a column or a part of it is null, unless it may be."""
    import pyarrow.compute as pc

    if name in _MAY_BE_NULL or name.partition(".")[0] not in KNOWN_COLUMNS:
        return
    if column.null_count:
        nulls = column.is_null().to_pylist()
        yield from (Flaw(row, f"{name} is null") for row, null in enumerate(nulls) if null)
        return
    if pa.types.is_struct(column.type):
        for field in column.type:
            yield from _nulls(f"{name}.{field.name}", pc.struct_field(column, field.name))
    elif pa.types.is_list(column.type):
        parts = list(_nulls(name, pc.list_flatten(column)))
        if parts:
            rows = pc.list_parent_indices(column).to_pylist()
            yield from (Flaw(rows[part.row], part.what) for part in parts)
