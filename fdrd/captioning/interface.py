"""Interface of captioners: questions, answers, registration by name, and the cache of answers.

A captioner is a class (or factory) registered with a decorator. Its keyword arguments are its options (`-C
name=value`). Its only positional argument is the `Spending` that it must respect and update.

    @captioner("mine")
    def mine(spending: Spending, *, model: str = "") -> Captioner:
        return Mine(model)

Each question is asked once: paid answers are cached in one SQLite file, committed before they count. The key is a
digest of image, question, model and parameters. Several runs can share the file on a local disk.
"""

import hashlib
import inspect
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, TypeVar

from fdrd.captioning.uncaptioned import UncaptionedImage
from fdrd.errors import FdrdError, first_line
from fdrd.options import Option, options_of, read_options, unknown

FAILURES: dict[str, str] = {
    "no_answer": "the captioner has nothing for this image",
    "timeout": "no answer within the timeout at any attempt",
    "unreachable": "the connection failed at every attempt",
    "rate_limited": "the server answered 429 at every attempt",
    "server_error": "the server failed (5xx) at every attempt",
    "malformed_answer": "the server's response is not a chat completion",
    "empty_answer": "the model's answer was empty",
    "question_refused": "the server rejected this question (400, 413, 422)",
    "picture_unreadable": "the image could not be decoded for the model",
    "budget_spent": "the next question could have exceeded the budget",
}
"""Why a question has no answer, by the code that appears in `rejected_captions.jsonl`."""

_VERSION = 1
_BUSY_SECONDS = 60
_OTHER_FILE = "choose another file with --cache"
_TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, text TEXT NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    cut INTEGER NOT NULL, model TEXT NOT NULL
) WITHOUT ROWID
"""


@dataclass
class Spending:
    """Money spent by one run, in the currency of the user's prices. Threads may share it.

    The maximum cost of a question is reserved before it is sent, so requests in flight never exceed the budget.

    >>> spending = Spending(budget=1.0)
    >>> spending.reserve(0.6), spending.reserve(0.6)
    (True, False)
    >>> spending.settle(0.6, 0.2); spending.reserve(0.6)
    True
    """

    budget: float | None = None
    spent: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    _reserved: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def reserve(self, cost: float | None) -> bool:
        """Reserve the maximum cost of a question. Return False if the budget does not allow it."""
        cost = cost or 0.0
        with self._lock:
            if self.budget is not None and self.spent + self._reserved + cost > self.budget:
                return False
            self._reserved += cost
            return True

    def settle(
        self, reserved: float | None, cost: float | None, read: int = 0, written: int = 0
    ) -> None:
        """Replace a reservation with the actual cost and numbers of tokens."""
        with self._lock:
            self._reserved -= reserved or 0.0
            self.spent += cost or 0.0
            self.input_tokens += read
            self.output_tokens += written


@dataclass(frozen=True, slots=True)
class Question:
    """A question about one image."""

    image: UncaptionedImage
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A captioner's answer. `cut` is true if it ended at the token limit."""

    text: str
    input_tokens: int = 0
    output_tokens: int = 0
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """A missing answer: a key of `FAILURES` and the details."""

    reason: str
    detail: str = ""


Keep = Callable[[Question, Answer | Failure], None]
"""Stores an answer. Call it as soon as the answer arrives, from any thread."""


class Captioner(Protocol):
    """Anything that answers questions about images."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Model, revision and all parameters that determine an answer, as JSON. Part of the cache key."""

    @property
    def converses(self) -> bool:
        """True if the captioner reads the question, so that it can use feedback or evaluate."""

    @property
    def free(self) -> bool:
        """True if answers are so cheap that they are not cached."""

    def answer(self, questions: Iterator[Question], keep: Keep) -> str:
        """Answer questions one by one or in batches, and pass each answer to `keep`.

        Return a key of `FAILURES` if it stopped early, else "". Raise `FdrdError` if no question can be answered, e.g.
        because the API key is invalid or the model does not exist.
        """


Factory = TypeVar("Factory", bound=Callable[..., Captioner])
_CAPTIONERS: dict[str, Callable[..., Captioner]] = {}


def captioner(name: str) -> Callable[[Factory], Factory]:
    """Register the decorated class or factory for `--captioner`. Raise `ValueError` for a name of another module."""

    def register(factory: Factory) -> Factory:
        owner = _CAPTIONERS.setdefault(name, factory).__module__
        if owner != factory.__module__:
            raise ValueError(f"duplicate captioner {name!r} in {owner} and {factory.__module__}")
        _CAPTIONERS[name] = factory
        return factory

    return register


def make_captioner(name: str, options: Mapping[str, Any], spending: Spending) -> Captioner:
    """Create a registered captioner. Option values may be strings from the command line.

    Raise `FdrdError` if the name or an option is unknown, or an option value is invalid.
    """
    if name not in _CAPTIONERS:
        raise FdrdError(unknown("captioner", name, _CAPTIONERS, "fdrd"))
    factory = _CAPTIONERS[name]
    return factory(spending, **read_options(options_of(factory), options, name))


def described_captioners() -> dict[str, tuple[str, dict[str, Option]]]:
    """Return the first line of the docstring and the options of each registered captioner, sorted by name."""
    return {
        name: ((inspect.getdoc(factory) or "").partition("\n")[0], options_of(factory))
        for name, factory in sorted(_CAPTIONERS.items())
    }


def question_key(identity: Mapping[str, Any], question: Question) -> str:
    """Return the cache key of a question. It depends on the image bytes, not on the file name."""
    parts = [question.image.sha256, question.text, identity]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class AnswerCache:
    """The cache file, opened by one run as a context manager.

    Raises `FdrdError` if the file is not a cache, was written by a later fdrd, or is not writable.
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
            raise FdrdError(f"{file}: {error}; {_OTHER_FILE}") from error
        try:
            self._execute("PRAGMA journal_mode=WAL")
            self._execute("PRAGMA synchronous=FULL")  # answers also survive a power failure
            (version,) = self._execute("PRAGMA user_version")[0]
            if version > _VERSION:
                raise FdrdError(f"{file} was written by a later fdrd; {_OTHER_FILE}")
            self._execute(_TABLE)
            self._execute(f"PRAGMA user_version={_VERSION}")
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> "AnswerCache":
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
        try:
            with self._lock:
                return self._connection.execute(statement, values).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:  # a damaged file gives any text
            raise FdrdError(f"{self.file}: {first_line(error)[:200]}; {_OTHER_FILE}") from error
