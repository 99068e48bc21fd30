"""Answers that were paid for, on disk: one SQLite file, one row per answer, committed before the answer counts.

The key is a digest of picture, question, model and parameters. Several runs may share the file: a run claims a
question before it asks, so that no other asks it too, and a claim ends with the process that made it, however that
ends: a run holds a lock of the operating system for as long as it lives. SQLite's log of writes needs a local disk.
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
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from fdrd.captioning.captioner import Answer, Question
from fdrd.errors import FdrdError
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
    """The file in the user's cache folder, for all sources."""
    return cache_folder() / "captions.sqlite"


def question_key(identity: Mapping[str, Any], question: Question) -> str:
    """The digest by which the answer is found again.

    The picture counts by its bytes and not by its name: a copy elsewhere is the same picture.
    """
    parts = [question.picture.sha256, question.text, identity]
    said = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


class AnswerCache:
    """The file, open for one run; close it, or use it as a context.

    Raises:
        FdrdError: the file is something else, of a later fdrd, or cannot be written.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._run = uuid.uuid4().hex
        self._lock = RLock()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._alive = self._lock_of(self._run)
            self._alive.acquire()
            self._connection = sqlite3.connect(
                file, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise FdrdError(f"{file}: {error}; name another cache with --cache") from error
        try:
            self._prepare()
        except BaseException:
            self._leave()
            raise

    def _prepare(self) -> None:
        with self._session() as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")  # an answer outlives a power cut too
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version > _VERSION:
                raise FdrdError(f"{self.file} is of a later fdrd; name another cache with --cache")
            database.executescript(_TABLES)
            database.execute(f"PRAGMA user_version={_VERSION}")

    def __enter__(self) -> AnswerCache:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives its claims up and closes the file."""
        with self._session() as database:
            database.execute("DELETE FROM claims WHERE run = ?", (self._run,))
        self._leave()

    def _leave(self) -> None:
        self._connection.close()
        self._alive.release()
        Path(self._alive.lock_file).unlink(missing_ok=True)

    def get(self, key: str) -> Answer | None:
        """The answer, if it is there."""
        with self._session() as database:
            row = database.execute(
                "SELECT text, input_tokens, output_tokens, cut FROM answers WHERE key = ?", (key,)
            ).fetchone()
        return None if row is None else Answer(row[0], row[1], row[2], bool(row[3]))

    def put(self, key: str, answer: Answer, model: str) -> None:
        """Stores an answer; it is on the disk when this returns. Its claim ends."""
        with self._transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?)",
                (key, answer.text, answer.input_tokens, answer.output_tokens, answer.cut, model),
            )
            database.execute("DELETE FROM claims WHERE key = ?", (key,))

    def claim(self, key: str) -> bool:
        """Whether this run may ask: nobody has the answer yet, and no living run is asking."""
        with self._transaction() as database:
            if database.execute("SELECT 1 FROM answers WHERE key = ?", (key,)).fetchone():
                return False
            holder = database.execute("SELECT run FROM claims WHERE key = ?", (key,)).fetchone()
            if holder and holder[0] != self._run and self._lives(holder[0]):
                return False
            database.execute("INSERT OR REPLACE INTO claims VALUES (?, ?)", (key, self._run))
            return True

    def give_up(self, key: str) -> None:
        """Ends a claim without an answer, so that anyone may ask."""
        with self._transaction() as database:
            database.execute("DELETE FROM claims WHERE key = ? AND run = ?", (key, self._run))

    def __len__(self) -> int:
        with self._session() as database:
            (count,) = database.execute("SELECT count(*) FROM answers").fetchone()
        return int(count)

    @contextmanager
    def _session(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise FdrdError(
                    f"{self.file}: {error}; mend that, or name another cache with --cache"
                ) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._session() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise

    def _lock_of(self, run: str) -> FileLock:
        return FileLock(self.file.with_name(f"{self.file.name}.run-{run}.lock"), timeout=0)

    def _lives(self, run: str) -> bool:
        """Whether the process of a run still holds its lock."""
        lock = self._lock_of(run)
        try:
            lock.acquire()
        except Timeout:
            return True
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)
        return False
