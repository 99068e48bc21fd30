"""The cache of paid answers: one SQLite file, one row per answer, committed before the answer counts.

The key is a digest of image, question, model and parameters. Several runs can share the file on a local disk. A run
claims a question before asking it, so that no other run asks it too. Claims expire when their process ends,
because each run holds an operating system lock.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

from filelock import FileLock, Timeout

from fdrd.captioning.interface import Answer, Question
from fdrd.errors import FdrdError, first_line
from fdrd.files.cache import cache_folder

_VERSION = 1
_BUSY_SECONDS = 60
_TABLES = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, text TEXT NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    cut INTEGER NOT NULL, model TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (key TEXT PRIMARY KEY, run TEXT NOT NULL) WITHOUT ROWID;
"""


def default_cache() -> Path:
    """Return the cache file in the user's cache folder."""
    return cache_folder() / "captions.sqlite"


def question_key(identity: Mapping[str, Any], question: Question) -> str:
    """Return the cache key of a question. It depends on the image bytes, not on the file name."""
    parts = [question.image.sha256, question.text, identity]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class AnswerCache:
    """The cache file, opened by one run as a context manager.

    Raises:
        FdrdError: The file is not a cache, was written by a later fdrd, or is not writable.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._run = uuid.uuid4().hex
        self._thread_lock = RLock()
        self._run_lock = self._lock_of(self._run)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._run_lock.acquire()
            self._connection = sqlite3.connect(
                file, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise FdrdError(f"{file}: {error}; choose another file with --cache") from error
        try:
            self._execute("PRAGMA journal_mode=WAL")
            self._execute("PRAGMA synchronous=FULL")  # answers also survive a power failure
            (version,) = self._execute("PRAGMA user_version")[0]
            if version > _VERSION:
                raise FdrdError(
                    f"{file} was written by a later fdrd; choose another file with --cache"
                )
            with self._transaction():
                for table in _TABLES.split(";"):
                    self._execute(table)
            self._execute(f"PRAGMA user_version={_VERSION}")
        except BaseException:
            self._release()
            raise

    def __enter__(self) -> AnswerCache:
        return self

    def __exit__(self, *_: object) -> None:
        """Drop this run's claims and close the file."""
        self._execute("DELETE FROM claims WHERE run = ?", self._run)
        self._release()

    def get(self, key: str) -> Answer | None:
        """Return the cached answer, or None."""
        columns = "text, input_tokens, output_tokens, cut"
        for text, read, written, cut in self._execute(
            f"SELECT {columns} FROM answers WHERE key = ?", key
        ):
            return Answer(text, read, written, bool(cut))
        return None

    def put(self, key: str, answer: Answer, model: str) -> None:
        """Store an answer and drop its claim. The answer is on disk when this returns."""
        row = (answer.text, answer.input_tokens, answer.output_tokens, answer.cut, model)
        with self._transaction():
            self._execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?)", key, *row)
            self._execute("DELETE FROM claims WHERE key = ?", key)

    def claim(self, key: str) -> bool:
        """Claim a question. Return False if it is answered or another live run has claimed it."""
        with self._transaction():
            if self._execute("SELECT 1 FROM answers WHERE key = ?", key):
                return False
            holder = self._execute("SELECT run FROM claims WHERE key = ?", key)
            if holder and holder[0][0] != self._run and self._is_alive(holder[0][0]):
                return False
            self._execute("INSERT OR REPLACE INTO claims VALUES (?, ?)", key, self._run)
            return True

    def unclaim(self, key: str) -> None:
        """Drop this run's claim, so that any run may ask the question."""
        self._execute("DELETE FROM claims WHERE key = ? AND run = ?", key, self._run)

    def __len__(self) -> int:
        return int(self._execute("SELECT count(*) FROM answers")[0][0])

    def _execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._thread_lock:
            try:
                return self._connection.execute(statement, values).fetchall()
            except (sqlite3.Error, UnicodeDecodeError) as error:  # a damaged file gives any text
                raise FdrdError(
                    f"{self.file}: {first_line(error)[:200]}; choose another file with --cache"
                ) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._thread_lock:
            self._execute("BEGIN IMMEDIATE")
            try:
                yield
                self._execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._execute("ROLLBACK")
                raise

    def _release(self) -> None:
        self._connection.close()
        self._run_lock.release()
        Path(self._run_lock.lock_file).unlink(missing_ok=True)

    def _lock_of(self, run: str) -> FileLock:
        return FileLock(self.file.with_name(f"{self.file.name}.run-{run}.lock"), timeout=0)

    def _is_alive(self, run: str) -> bool:
        lock = self._lock_of(run)
        try:
            lock.acquire()
        except Timeout:
            return True
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)
        return False
