"""Ask questions, each once: paid answers are cached in one SQLite file, committed before they count.

The key is a digest of image, question, model and parameters. Several runs can share the file on a local disk.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from fdrd.captioning.interface import Answer, Captioner, Failure, Question, Spending
from fdrd.captioning.uncaptioned import UncaptionedImage
from fdrd.errors import FdrdError, first_line

_VERSION = 1
_BUSY_SECONDS = 60
_TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, text TEXT NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    cut INTEGER NOT NULL, model TEXT NOT NULL
) WITHOUT ROWID
"""


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
        select = "SELECT text, input_tokens, output_tokens, cut FROM answers WHERE key = ?"
        for text, read, written, cut in self._execute(select, key):
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


Score = Callable[[Sequence[UncaptionedImage], Sequence[str]], list[float]]
"""Returns the cosine of each image with its caption under a backbone."""

Report = Callable[[int], None]
"""Called with the number of questions done."""


@dataclass
class CaptioningSession:
    """Captioner, evaluator and scorer, with their cache, budget and counts.

    Attributes:
        cached: Number of answers from the cache.
        answered: Number of new answers of models and servers.
        stopped: Why no more questions are asked, or empty.
    """

    captioner: Captioner
    cache: AnswerCache
    evaluator: Captioner | None = None
    score: Score | None = None
    spending: Spending = field(default_factory=Spending)
    cached: int = 0
    answered: int = 0
    stopped: str = ""

    def ask(
        self,
        captioner: Captioner,
        questions: Sequence[Question],
        report: Report = lambda done: None,
    ) -> list[Answer | Failure]:
        """Return the answer of captioner or evaluator to each question. Cached answers are not asked again."""
        identity = captioner.identity

        def key_of(question: Question) -> str:
            # A look-up may depend on the name of an image.
            return question.image.record.id if captioner.free else question_key(identity, question)

        keys = [key_of(question) for question in questions]
        waiting = dict(zip(keys, questions, strict=True))  # equal questions are asked once
        answers: dict[str, Answer | Failure] = {}
        if not captioner.free:
            for key in list(waiting):
                if (known := self.cache.get(key)) is not None:
                    answers[key] = known
                    del waiting[key]
        cached = len(answers)

        def keep(question: Question, answer: Answer | Failure) -> None:
            key = key_of(question)
            if isinstance(answer, Answer) and not captioner.free:
                self.cache.put(key, answer, str(identity.get("model", "")))
            answers[key] = answer
            report(len(answers))

        report(cached)
        if waiting and not self.stopped:
            self.stopped = captioner.answer(iter(waiting.values()), keep)
        self.cached += cached
        if not captioner.free:
            self.answered += sum(isinstance(answers.get(key), Answer) for key in waiting)
        return [answers.get(key, Failure(self.stopped or "no_answer")) for key in keys]
