"""Writes the viewer's index: one row per record, the words of its caption, and one code per facet."""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fdrd.checks.flaws import caption_flaws
from fdrd.curation.leaks import CLUSTER
from fdrd.files.atomic import sha256_of
from fdrd.progress import Progress
from fdrd.record import category_name
from fdrd.storage.shard_file import read_batches
from fdrd.viewer.facets import MULTIPLE, SINGLE

FIELDS = """row id shard place image caption category meta_category domain split license cluster file origin width
height attributes negatives error""".split()


_TABLES = """
CREATE TABLE records (
  row INTEGER PRIMARY KEY, id TEXT UNIQUE, shard INTEGER, place INTEGER, image TEXT, caption TEXT, category TEXT,
  meta_category TEXT, domain TEXT, split TEXT, license TEXT, cluster TEXT, file TEXT, origin TEXT, width INTEGER,
  height INTEGER, attributes TEXT, negatives TEXT, error TEXT);
CREATE VIRTUAL TABLE words USING fts5(caption, category, content='', tokenize="unicode61 remove_diacritics 2");
CREATE TABLE shards (number INTEGER PRIMARY KEY, path TEXT, error TEXT);
CREATE TABLE columns (name TEXT PRIMARY KEY, labels TEXT, codes BLOB, rows BLOB);
"""
_INDEXES = """
CREATE INDEX by_image ON records (image);
CREATE INDEX by_cluster ON records (cluster) WHERE cluster LIKE 'near-%';
CREATE INDEX by_file ON records (file);
"""
_LENGTHS = (10, 20, 40, 80)


def length_label(words: int) -> str:
    """Return the caption length bucket of a number of words.

    >>> length_label(10), length_label(11), length_label(99)
    ('1-10 words', '11-20 words', 'over 80 words')
    """
    low = 1
    for high in _LENGTHS:
        if words <= high:
            return f"{low}-{high} words"
        low = high + 1
    return f"over {_LENGTHS[-1]} words"


@dataclass(slots=True)
class _Column:
    """A column under construction: labels by number, one code per row, or per (row, value) where it is multiple."""

    numbers: dict[str, int] = field(default_factory=dict)
    codes: array[int] = field(default_factory=lambda: array("i"))
    rows: array[int] = field(default_factory=lambda: array("i"))

    def add(self, label: str, row: int | None = None) -> None:
        self.codes.append(self.numbers.setdefault(label, len(self.numbers)))
        if row is not None:
            self.rows.append(row)


def shard_rows(
    folder: Path, manifest: Mapping[str, Any]
) -> Iterator[tuple[int, dict[str, Any], str]]:
    """Yield shard number, row, and error of each record; a record that cannot be read has nothing but its error."""
    for number, shard in enumerate(manifest["shards"]):
        path, read = folder / shard["path"], 0
        error = _damage(path, shard)
        base = {"domain": shard["domain"], "split": shard["split"]}
        try:
            for batch in read_batches(path, images=False):
                for row in batch.to_pylist():
                    row["category"] = category_name(row["category"], manifest["categories"])
                    yield number, {**row, **base, "place": read}, error
                    read += 1
        except Exception as failure:  # a damaged shard may fail in any way
            error = f"{shard['path']} cannot be read: {failure or type(failure).__name__}"
        for place in range(read, shard["rows"]):
            missing = error or f"{shard['path']} has fewer rows than the manifest says"
            yield (
                number,
                {**_EMPTY, **base, "id": f"{shard['path']}#{place}", "place": place},
                missing,
            )


_EMPTY: dict[str, Any] = {
    "caption": "", "category": "(unreadable)", "meta_category": "", "group": "", "attributes": [], "negatives": [],
    "source": {"file": "", "sha256": "", "license": "unknown", "origin": ""}, "width": 0, "height": 0,
}  # fmt: skip


def _damage(path: Path, shard: Mapping[str, Any]) -> str:
    """Return how a shard differs from the manifest, or an empty text."""
    try:
        same = path.stat().st_size == shard["bytes"] and sha256_of(path) == shard["sha256"]
    except OSError as error:
        return f"{shard['path']}: {error.strerror}"
    return "" if same else f"{shard['path']} is damaged: its digest is not that of the manifest"


def write_index(
    path: Path,
    shards: Sequence[Mapping[str, Any]],
    rows: Iterator[tuple[int, dict[str, Any], str]],
    progress: Progress,
) -> None:
    """Write the index of some rows."""
    total = sum(shard["rows"] for shard in shards)
    columns = {name: _Column() for name in (*SINGLE, *MULTIPLE, "words")}
    connection = sqlite3.connect(path)
    connection.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + _TABLES)
    damaged: dict[int, str] = {}
    batch: list[tuple[Any, ...]] = []
    for number, (shard, row, error) in enumerate(rows):
        if error:
            damaged[shard] = error
        batch.append(_values(number, shard, row, error))
        _count(columns, number, row, bool(error))
        if len(batch) >= 5000:
            _insert(connection, batch)
            batch.clear()
            progress("indexing records", number, total)
    _insert(connection, batch)
    connection.executemany(
        "INSERT INTO shards VALUES (?, ?, ?)",
        [(n, shard["path"], damaged.get(n, "")) for n, shard in enumerate(shards)],
    )
    for name, column in columns.items():
        multiple = column.rows.tobytes() if name in MULTIPLE else None
        labels = json.dumps(list(column.numbers), ensure_ascii=False)
        values = (name, labels, column.codes.tobytes(), multiple)
        connection.execute("INSERT INTO columns VALUES (?, ?, ?, ?)", values)
    connection.executescript(_INDEXES)
    connection.commit()
    connection.close()
    progress("indexing records", total, total)


def _insert(connection: sqlite3.Connection, batch: list[tuple[Any, ...]]) -> None:
    connection.executemany(f"INSERT INTO records VALUES ({','.join('?' * len(FIELDS))})", batch)
    connection.executemany(
        "INSERT INTO words (rowid, caption, category) VALUES (?, ?, ?)",
        [(row[0], row[5], row[6]) for row in batch],
    )


def _values(number: int, shard: int, row: Mapping[str, Any], error: str) -> tuple[Any, ...]:
    source = row["source"]
    return (
        number, row["id"], shard, row["place"], source["sha256"], row["caption"], row["category"],
        row["meta_category"], row["domain"], row["split"], source["license"], row["group"], source["file"],
        source["origin"], row["width"], row["height"], json.dumps(row["attributes"], ensure_ascii=False),
        json.dumps(row["negatives"], ensure_ascii=False), error,
    )  # fmt: skip


def _count(columns: Mapping[str, _Column], number: int, row: Mapping[str, Any], bad: bool) -> None:
    """Add one row to all columns."""
    columns["domain"].add(row["domain"])
    columns["split"].add(row["split"])
    columns["category"].add(row["category"] or "(none)")
    columns["meta"].add(row["meta_category"] or "(none)")
    columns["license"].add(row["source"]["license"])
    words = len(row["caption"].split())
    columns["length"].add(length_label(words))
    columns["words"].codes.append(words)
    columns["near"].add("has near duplicates" if row["group"].startswith(CLUSTER) else "none found")
    for type_ in {span["type"] for span in row["attributes"]}:
        columns["type"].add(type_, number)
    for value in {f"{span['type']}: {span['value'].lower()}" for span in row["attributes"]}:
        columns["value"].add(value, number)
    category = row["category"].removeprefix(f"{row['domain']}: ")
    for flaw in ["damaged"] if bad else caption_flaws(row["caption"], category):
        columns["flag"].add(flaw, number)
