"""The cache of paid answers: one SQLite file, one row per answer, committed before the answer counts.

The key is a digest of image, question, model and parameters. Several runs can share the file on a local disk.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from fdrd.captioning.interface import Answer, Question
from fdrd.errors import FdrdError, first_line
from fdrd.files.cache import cache_folder

_VERSION = 1
_BUSY_SECONDS = 60
_TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, text TEXT NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    cut INTEGER NOT NULL, model TEXT NOT NULL
) WITHOUT ROWID
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
        self._lock = Lock()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
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
            self._execute(_TABLE)
            self._execute(f"PRAGMA user_version={_VERSION}")
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> AnswerCache:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def get(self, key: str) -> Answer | None:
        """Return the cached answer, or None."""
        columns = "text, input_tokens, output_tokens, cut"
        for text, read, written, cut in self._execute(
            f"SELECT {columns} FROM answers WHERE key = ?", key
        ):
            return Answer(text, read, written, bool(cut))
        return None

    def put(self, key: str, answer: Answer, model: str) -> None:
        """Store an answer. It is on disk when this returns."""
        row = (answer.text, answer.input_tokens, answer.output_tokens, answer.cut, model)
        self._execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?)", key, *row)

    def __len__(self) -> int:
        return int(self._execute("SELECT count(*) FROM answers")[0][0])

    def _execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._connection.execute(statement, values).fetchall()
            except (sqlite3.Error, UnicodeDecodeError) as error:  # a damaged file gives any text
                raise FdrdError(
                    f"{self.file}: {first_line(error)[:200]}; choose another file with --cache"
                ) from error
