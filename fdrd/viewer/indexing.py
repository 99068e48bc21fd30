"""Writes the viewer's index: one row per record, the words of its caption, and one code per facet."""

from __future__ import annotations

import json
import sqlite3
import stat
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import ValidationError

from fdrd.checks.flaws import caption_flaws
from fdrd.columns import arrow_schema, extra_in_schema, extra_of
from fdrd.curation.splitting import CLUSTER
from fdrd.errors import first_line
from fdrd.files.atomic import sha256_of
from fdrd.progress import Progress
from fdrd.record import category_name, from_json
from fdrd.sources.reading.names import MAX_CAPTION, MAX_NAME
from fdrd.storage.manifest import Manifest, Shard
from fdrd.storage.shard_file import read_batches, read_schema
from fdrd.viewer.facets import MULTIPLE, SINGLE

AS_JSON = ("attributes", "negatives", "natural_pairs", "extra")
_TEXTS = """image caption category meta_category domain split license cluster file origin attributes negatives
natural_pairs extra error""".split()
FIELDS = ["row", "id", "shard", "place", "width", "height", *_TEXTS]

_TABLES = f"""
CREATE TABLE records (row INTEGER PRIMARY KEY, id TEXT UNIQUE, shard INTEGER, place INTEGER, width INTEGER,
  height INTEGER, {" TEXT, ".join(_TEXTS)} TEXT);
CREATE VIRTUAL TABLE words USING fts5(caption, category, content='', tokenize="unicode61 remove_diacritics 2");
CREATE TABLE shards (number INTEGER PRIMARY KEY, path TEXT, error TEXT);
CREATE TABLE columns (name TEXT PRIMARY KEY, labels TEXT, codes BLOB, rows BLOB);
"""
_INDEXES = """
CREATE INDEX by_image ON records (image);
CREATE INDEX by_cluster ON records (cluster) WHERE cluster LIKE 'near-%';
CREATE INDEX by_file ON records (file);
"""
_INSERT = f"INSERT OR IGNORE INTO records VALUES ({','.join('?' * len(FIELDS))})"
_INSERT_WORDS = "INSERT INTO words (rowid, caption, category) VALUES (:row, :caption, :category)"
NO_CATEGORY = "(none)"  # label of records without a category
_MOST_WORDS = (10, 20, 40, 80)
_LENGTHS = "1-10 words,11-20 words,21-40 words,41-80 words,over 80 words".split(",")
_LONGEST = 300  # characters of a reason, which may repeat any part of a shard


@dataclass(slots=True)
class _Column:
    """A column under construction: codes by label, one code per row, or per (row, value) where it is multiple."""

    labels: dict[str, int] = field(default_factory=dict)
    codes: array[int] = field(default_factory=lambda: array("i"))
    rows: array[int] = field(default_factory=lambda: array("i"))

    def add(self, label: str, row: int | None = None) -> None:
        self.codes.append(self.labels.setdefault(label, len(self.labels)))
        if row is not None:
            self.rows.append(row)


@dataclass(slots=True)
class _Damage:
    """What is wrong with a shard: reasons for the whole of it, and rows that cannot be shown."""

    shard: str
    reasons: list[str]
    rows: int = 0
    first: str = ""

    def add_row(self, row: int, reason: str) -> None:
        self.rows += 1
        self.first = self.first or f"row {row}, {reason[:_LONGEST]}"

    def __str__(self) -> str:
        left_out = f"rows that cannot be shown: {self.rows:,}, first {self.first}"
        reasons = [*self.reasons, left_out] if self.rows else self.reasons
        return f"{self.shard}: {'; '.join(reasons)}" if reasons else ""


def write_index(path: Path, folder: Path, manifest: Manifest, progress: Progress) -> bool:
    """Write the index of a dataset; return whether all of it is sound.

    Rows that the viewer could not show, e.g. without a caption or with the id of another row, are left out.
    """
    total = sum(shard.rows for shard in manifest.shards)
    columns = {
        name: _Column()
        for name in (*SINGLE, *MULTIPLE, "words", "negatives", "pairs", "width", "height")
    }
    errors = []
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + _TABLES)
        row = 0
        for index, shard in enumerate(manifest.shards):
            file = folder / shard.path
            damage = _Damage(shard.path, _file_flaws(file, shard))
            for batch in _shown_rows(file, shard, manifest.categories, damage):
                for each in batch:
                    each |= {"row": row, "shard": index}
                    if not connection.execute(_INSERT, _values(each)).rowcount:
                        flaw = f"the id {each['id'][:80]!r} is that of another row"
                        damage.add_row(each["place"], flaw)
                        continue
                    connection.execute(_INSERT_WORDS, each)
                    _count(columns, row, each)
                    row += 1
                progress("indexing records", min(row, total), total)
            errors.append((index, shard.path, str(damage)))
        connection.executemany("INSERT INTO shards VALUES (?, ?, ?)", errors)
        _write_columns(connection, columns)
        connection.executescript(_INDEXES)
        connection.commit()
    progress("indexing records", total, total)
    return not any(error for _, _, error in errors)


def _write_columns(connection: sqlite3.Connection, columns: Mapping[str, _Column]) -> None:
    for name, column in columns.items():
        multiple = column.rows.tobytes() if name in MULTIPLE else None
        labels = json.dumps(list(column.labels), ensure_ascii=False)
        values = (name, labels, column.codes.tobytes(), multiple)
        connection.execute("INSERT INTO columns VALUES (?, ?, ?, ?)", values)


def _file_flaws(path: Path, shard: Shard) -> list[str]:
    """Return how the file of a shard differs from the manifest."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return ["not a file"]
        same = status.st_size == shard.bytes and sha256_of(path) == shard.sha256
    except OSError as error:
        return [error.strerror or str(error)]
    return [] if same else ["damaged, its digest is not that of the manifest"]


def _shown_rows(
    path: Path, shard: Shard, categories: Sequence[str], damage: _Damage
) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of a shard that can be shown, in batches; add to the damage what cannot."""
    read, count, error = 0, shard.rows, str(damage)
    try:
        if not path.is_file():  # a pipe would wait for ever
            return
        found = read_schema(path)
        if not found.equals(arrow_schema(categories, extra_in_schema(found)), check_metadata=False):
            raise ValueError("its columns are not those of a dataset")
        for batch in read_batches(path, images=False):
            rows = []
            for row in batch.to_pylist():
                if flaw := _flaw(row, categories):
                    damage.add_row(read, flaw)
                else:
                    category = category_name(row["category"], categories)
                    row |= {"extra": extra_of(row), "category": category, "split": shard.split}
                    rows.append(row | {"domain": shard.domain, "place": read, "error": error})
                read += 1
            yield rows
    except Exception as failure:  # a damaged shard may fail in any way
        damage.reasons.append(f"cannot be read ({first_line(failure)[:_LONGEST]})")
    if read != count:
        damage.reasons.append(f"{read:,} rows can be read, the manifest counts {count:,}")


def _flaw(row: Mapping[str, Any], categories: Sequence[str]) -> str:
    """Return what keeps a row from being shown, or an empty text."""
    label = row["category"]
    if label is not None and not -1 <= label < len(categories):
        return f"the category {label} is not one of the {len(categories):,} in the manifest"
    try:
        record = from_json({**row, "category": "", "image": {"path": "", "member": ""}})
    except ValidationError as error:
        return str(error)
    if max(len(record.caption), *(len(each.caption) for each in record.negatives), 0) > MAX_CAPTION:
        return f"a caption has over {MAX_CAPTION:,} characters"
    texts = [value for value in extra_of(row).values() if isinstance(value, str)]
    if max(map(len, texts), default=0) > MAX_CAPTION:
        return f"a column has over {MAX_CAPTION:,} characters"
    if len(category_name(label, categories)) > 2 * MAX_NAME:  # with the domain
        return f"the category has over {2 * MAX_NAME:,} characters"
    return ""


def _values(row: dict[str, Any]) -> list[Any]:
    source = row["source"]
    known = row | {"image": source["sha256"], "cluster": row["group"], "license": source["license"]}
    known |= {name: json.dumps(row[name], ensure_ascii=False) for name in AS_JSON}
    known |= {name: source[name] for name in ("file", "origin")}
    return [known[name] for name in FIELDS]


def _count(columns: Mapping[str, _Column], index: int, row: Mapping[str, Any]) -> None:
    """Add one row to all columns."""
    words, spans = len(row["caption"].split()), row["attributes"]
    category = row["category"].removeprefix(f"{row['domain']}: ")
    labels = {
        "domain": row["domain"],
        "split": row["split"],
        "category": row["category"] or NO_CATEGORY,
        "meta": row["meta_category"] or NO_CATEGORY,
        "license": row["source"]["license"],
        "length": _LENGTHS[bisect_left(_MOST_WORDS, words)],
        "near": "has near duplicates" if row["group"].startswith(CLUSTER) else "none found",
    }
    several = {
        "type": {span["type"] for span in spans},
        "value": {f"{span['type']}: {span['value'].lower()}" for span in spans},
        "flag": ["damaged"] if row["error"] else caption_flaws(row["caption"], category),
    }
    sizes = {"width": row["width"], "height": row["height"], "words": words}
    sizes |= {"negatives": len(row["negatives"]), "pairs": len(row["natural_pairs"] or ())}
    for name, label in labels.items():
        columns[name].add(label)
    for name, values in several.items():
        for label in values:
            columns[name].add(label, index)
    for name, size in sizes.items():
        columns[name].codes.append(size)
