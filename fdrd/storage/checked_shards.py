"""Read the shards of a dataset, which may be damaged or somebody else's: nothing is used before it is checked.

`check_rows` finds what would break a reader: missing columns, nulls, class labels out of range, texts that become
paths. `fdrd.checks.validation` also compares digests, spans, negatives and splits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from fdrd.columns import KNOWN_COLUMNS, arrow_schema, extra_in_schema
from fdrd.errors import FdrdError, first_line
from fdrd.files.names import DIGEST, is_folder_name
from fdrd.record import KINDS
from fdrd.storage.manifest_types import Shard
from fdrd.storage.shard_file import class_names, read_batches, read_schema

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


def schema_flaw(found: pa.Schema, categories: Sequence[str]) -> str:
    """Return how the schema of a shard differs from that of a dataset with these categories; empty if it does not."""
    if flaw := columns_flaw(found, categories):
        return flaw
    try:
        expected = arrow_schema(categories, extra_in_schema(found))
    except ValueError as error:
        return str(error)
    if not found.equals(expected) or found.metadata != expected.metadata:
        return "its columns or class labels are not those of the manifest"
    return ""


def row_flaws(
    batch: pa.RecordBatch | pa.Table, labels: int, domain: str | None = None
) -> list[Flaw]:
    """Return what would break a reader of these rows, which may lack their images.

    `labels` is the number of class labels, and `domain` the one of all rows, if it is known.

    Raises:
        pyarrow.ArrowInvalid: a text is not UTF-8, or an offset is wrong.
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
            what = f"domain {name[:100]!r}" + (f" in a shard of {domain!r}" if domain else "")
            rows = pc.indices_nonzero(pc.equal(names, name)).to_pylist()
            flaws += [Flaw(row, what) for row in rows]
    for name, what in (("negatives", "a negative"), ("natural_pairs", "a natural pair")):
        kinds = pc.struct_field(pc.list_flatten(batch[name]), "kind")
        parents = pc.list_parent_indices(batch[name])
        for index in pc.indices_nonzero(pc.invert(pc.is_in(kinds, pa.array(KINDS)))).to_pylist():
            text = f"the kind of {what} is not one of {', '.join(KINDS)}"
            flaws.append(Flaw(parents[index].as_py(), text))
    return flaws


class ShardFacts(NamedTuple):
    """What the manifest says about the file of a shard, to compare with it."""

    domain: str
    rows: int
    bytes: int


def read_checked(
    path: Path,
    shard: Shard | ShardFacts | None = None,
    categories: Sequence[str] | None = None,
    *,
    images: bool = True,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a shard batch by batch, each after checking it, with or without the image bytes.

    Without an entry of the manifest (`shard`), e.g. for a copy in the cache of `datasets`, it is not compared with one,
    and without `categories` the file says which there are.

    Raises:
        DamageError: the file is missing or damaged, or a row would break its reader.
    """
    if flaw := file_flaw(path, shard.bytes if shard else None):
        raise DamageError(path, flaw)
    read, domain = 0, shard.domain if shard else None
    try:
        schema = read_schema(path)
        names = class_names(schema) if categories is None else categories
        if flaw := schema_flaw(schema, names):
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


def check_rows(
    path: Path, shard: Shard | None = None, categories: Sequence[str] | None = None
) -> None:
    """Check all rows of a shard; a file that did not change is checked once in a process.

    Raises:
        DamageError: as `read_checked`.
    """
    try:
        status = path.stat()
    except OSError:
        status = None
    state = status and (status.st_size, status.st_mtime_ns, status.st_ino)
    facts = shard and ShardFacts(shard.domain, shard.rows, shard.bytes)
    _check_once(path, state, facts, None if categories is None else tuple(categories))


@lru_cache(maxsize=1024)
def _check_once(
    path: Path,
    _state: tuple[int, ...] | None,
    facts: ShardFacts | None,
    categories: tuple[str, ...] | None,
) -> None:
    # The images of Parquet would have to be decompressed; whoever uses one checks it.
    for _ in read_checked(path, facts, categories, images=path.suffix != ".parquet"):
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
