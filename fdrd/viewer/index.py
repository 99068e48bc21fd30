"""The viewer's index: an SQLite file in the cache with one row per record, built once for each state of a dataset.

It can be recomputed at any time. Its name is a digest of the manifest and of what identifies each shard, so a dataset
that was rebuilt, copied, damaged, or repaired gets a new one.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Literal

import numpy as np
from filelock import FileLock, Timeout
from msgspec import to_builtins

from fdrd.dataset import RowTexts
from fdrd.errors import FdrdError
from fdrd.files.paths import cache_folder
from fdrd.progress import Progress, silent
from fdrd.storage.manifest import Manifest, read_manifest
from fdrd.text.markup import is_unicode
from fdrd.viewer.facets import Columns, Indices
from fdrd.viewer.indexing import AS_JSON, FIELDS, write_index

_VERSION = 5
_UNFINISHED = ".unfinished"
_LISTED = "IN (SELECT value FROM json_each(?))"  # the condition to be in a list
_SEARCHES = 32  # searches whose rows are kept: filters are chosen after a search
_EVERY = 0.5  # seconds between two looks at the files


def files_now(folder: Path, manifest: Manifest) -> list[list[int]]:
    """Return what identifies the content of the manifest and of each shard without reading them; [] for no file.

    The files of a copy differ, so its flaws are never shown for the original.
    """
    found: list[list[int]] = []
    for name in ("manifest.json", *(shard.path for shard in manifest.shards)):
        try:
            status = (folder / name).stat()
            found.append([status.st_ino, status.st_size, status.st_mtime_ns])
        except OSError:
            found.append([])
    return found


def open_index(folder: Path, progress: Progress = silent) -> Index:
    """Open the index of a dataset; build it first where there is none. An index with errors is not kept.

    Raises:
        FdrdError: the folder holds no dataset, or the index cannot be written.
    """
    manifest = read_manifest(folder)
    files = files_now(folder, manifest)
    key = json.dumps([_VERSION, to_builtins(manifest), files[1:]], ensure_ascii=False)
    digest = hashlib.sha256(key.encode()).hexdigest()
    path = cache_folder() / "viewer" / f"{digest[:32]}.sqlite"
    if path.is_file():
        try:
            return Index(path, folder, manifest, files)
        except (sqlite3.DatabaseError, ValueError):  # cut short, e.g. by a power failure
            path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_unfinished(path.parent)
    unfinished = Path(mkdtemp(_UNFINISHED, "", path.parent))
    lock = FileLock(unfinished / "lock", thread_local=False)
    lock.acquire()
    remove = weakref.finalize(lock, shutil.rmtree, unfinished, ignore_errors=True)
    new = unfinished / "index.sqlite"
    try:
        sound = write_index(new, folder, manifest, progress)
        if not sound or files_now(folder, manifest) != files:
            return Index(new, folder, manifest, files, lock)
        new.replace(path)
        index = Index(path, folder, manifest, files)
        remove()
        return index
    except BaseException as error:
        remove()
        if isinstance(error, sqlite3.Error):
            remedy = "FDRD_CACHE names another cache"
            raise FdrdError(f"{path.parent}: {error}; {remedy}") from error
        raise


def _remove_unfinished(parent: Path) -> None:
    """Remove what killed processes left behind."""
    for folder in parent.glob(f"*{_UNFINISHED}"):
        if (folder / "lock").is_file():
            with suppress(Timeout, OSError), FileLock(folder / "lock", timeout=0):
                shutil.rmtree(folder, ignore_errors=True)


class Index:
    """An open index: rows by number or id, full-text search, and the columns that facets count."""

    def __init__(
        self,
        path: Path,
        folder: Path,
        manifest: Manifest,
        files: list[list[int]],
        lock: FileLock | None = None,
    ):
        """`files` are those that were indexed (`files_now`); `lock` keeps `path` as long as this is open."""
        self.folder, self.manifest, self.files = folder, manifest, files
        self._lock = lock
        self.version = hashlib.sha256(repr((manifest.digest, files)).encode()).hexdigest()[:16]
        """What a form says about the dataset that its page showed."""
        self._uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        self._local = threading.local()
        self._searches: dict[str, Indices] = {}
        columns = {
            name: (json.loads(labels), np.frombuffer(codes, np.int32), _integers(rows))
            for name, labels, codes, rows in self._all("SELECT * FROM columns")
        }
        self.columns = Columns(columns)
        shards = self._all("SELECT number, path, error FROM shards")
        self.shards = {shard: (path, error) for shard, path, error in shards}

    def _all(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        if not hasattr(self._local, "connection"):
            self._local.connection = sqlite3.connect(self._uri, uri=True)
        found: list[Any] = self._local.connection.execute(query, values).fetchall()
        return found

    def records(self, rows: Sequence[int], *, spans: bool = True) -> list[dict[str, Any]]:
        """Return the records of some rows, in that order, with or without attributes and negatives."""
        listed = json.dumps([*map(int, rows)])
        found = {each["row"]: each for each in self._records(f"row {_LISTED}", listed, spans)}
        return [found[int(row)] for row in rows]

    def stream(self, rows: Indices) -> Iterator[dict[str, Any]]:
        """Yield the records of some rows, a few hundred of which are in memory at a time."""
        for start in range(0, len(rows), 500):
            yield from self.records(rows[start : start + 500].tolist())

    def record(self, record_id: str) -> dict[str, Any] | None:
        """Return the record of an id."""
        return next(iter(self.having("id", record_id)), None)

    def having(
        self, column: Literal["id", "image", "file", "cluster"], value: str, most: int = -1
    ) -> list[dict[str, Any]]:
        """Return the first records that have a value, all by default; a `cluster` is one of near duplicates."""
        near = " AND cluster LIKE 'near-%'" if column == "cluster" else ""
        return self._records(f"{column} = ?{near} ORDER BY row LIMIT {most}", value)

    def clusters(self) -> list[str]:
        """Return the names of the clusters of near duplicates that hold several images."""
        query = """SELECT cluster FROM records WHERE cluster LIKE 'near-%' GROUP BY cluster
                   HAVING COUNT(DISTINCT image) > 1 ORDER BY COUNT(DISTINCT image) DESC, cluster"""
        return [name for (name,) in self._all(query)]

    def search(self, text: str) -> Indices:
        """Return the rows whose caption or category has all words of a text; the last may be a prefix of 3 letters."""
        words = re.findall(r"\w+", text)[:20]
        if not words:
            return np.zeros(0, np.int32)
        match = " ".join(f'"{word}"' for word in words) + ("*" if len(words[-1]) > 2 else "")
        rows = self._searches.get(match)
        if rows is None:  # other threads fill and clear it, too
            found = self._all("SELECT rowid FROM words WHERE words MATCH ?", [match])
            rows = np.fromiter((row for (row,) in found), np.int32, len(found))
            if len(self._searches) >= _SEARCHES:
                self._searches.clear()
            self._searches[match] = rows
        return rows

    def texts(self, rows: Indices) -> Iterator[RowTexts]:
        """Yield what a fingerprint reads of rows."""
        for each in self.stream(rows):
            negatives = [negative["caption"] for negative in each["negatives"]]
            partners = [(pair["kind"], pair["id"]) for pair in each["natural_pairs"]]
            texts = each["image"], each["caption"], each["category"]
            yield *texts, negatives, partners, each["domain"]

    def texts_of(self, column: Literal["image", "caption", "cluster"]) -> list[str]:
        """Return one text of every row."""
        return [text for (text,) in self._all(f"SELECT {column} FROM records ORDER BY row")]

    def summaries(self) -> dict[str, tuple[str, str, str]]:
        """Return caption, category and split of every record by its id."""
        rows = self._all("SELECT id, caption, category, split FROM records ORDER BY row")
        return {name: tuple(values) for name, *values in rows}

    def rows_of(self, ids: Iterable[str]) -> dict[str, int]:
        """Return the row of each id that is known."""
        listed = json.dumps([each for each in ids if is_unicode(each)])
        return dict(self._all(f"SELECT id, row FROM records WHERE id {_LISTED}", [listed]))

    def _records(self, where: str, value: str, spans: bool = True) -> list[dict[str, Any]]:
        if not is_unicode(value):
            return []  # e.g. a file name: no record has it
        rows = self._all(f"SELECT * FROM records WHERE {where}", [value])
        records = [dict(zip(FIELDS, row, strict=True)) for row in rows]
        for record in records:
            for name in AS_JSON:
                record[name] = json.loads(record[name]) if spans or name == "extra" else []
        return records


def _integers(data: bytes | None) -> Indices | None:
    return None if data is None else np.frombuffer(data, np.int32)


def content_key(record: Mapping[str, Any]) -> str:
    """Return a short key of a record's image, for URLs that may be cached."""
    return f"{record['image'][:12]}{'-damaged' if record['error'] else ''}"


class Library:
    """Gives the current index. A changed dataset is indexed in the background; until then, the old index is used."""

    def __init__(self, folder: Path, progress: Progress = silent):
        self.folder = folder
        self.notice = ""
        """What a reader should know about the dataset now."""
        self._lock = threading.Lock()
        self._looked = time.monotonic()
        self._index = open_index(folder, progress)
        self._seen = self._index.files
        """The files when they were indexed last, or when that failed."""
        self._building: threading.Thread | None = None

    def current(self) -> Index:
        """Return the index of the dataset as it is, or as it was while a new index is being built."""
        with self._lock:
            if time.monotonic() - self._looked > _EVERY:
                self._looked = time.monotonic()
                files = files_now(self.folder, self._index.manifest)
                if not files[0]:
                    self.notice = "The dataset is not there now. This is its last state."
                elif files != self._seen and self._building is None:
                    self.notice = "The dataset has changed. Reading it again; reload in a moment."
                    self._building = threading.Thread(target=self._reopen, args=[files])
                    self._building.daemon = True
                    self._building.start()
                elif self._building is None and files == self._index.files:
                    self.notice = ""
            return self._index

    def _reopen(self, files: list[list[int]]) -> None:
        try:
            index, notice = open_index(self.folder), ""
            files = index.files
        except (FdrdError, OSError) as error:
            index, notice = self._index, f"The dataset has changed and cannot be read: {error}"
        with self._lock:
            self._index, self._seen, self._building, self.notice = index, files, None, notice
