"""The captioner interface: questions, answers, failures, and captioners registered by name.

A captioner is a class (or factory) registered with a decorator. Its keyword arguments are its options (`-C
name=value`). Its only positional argument is the `Spending` that it must respect and update.

    @captioner("mine")
    def mine(spending: Spending, *, model: str = "") -> Captioner:
        return Mine(model)
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from fdrd.captioning.uncaptioned import UncaptionedImage
from fdrd.errors import FdrdError
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

        Returns:
            A key of `FAILURES` if it stopped early, else "".

        Raises:
            FdrdError: No question can be answered, e.g. the API key is invalid or the model does not exist.
        """


Factory = TypeVar("Factory", bound=Callable[..., Captioner])
_CAPTIONERS: dict[str, Callable[..., Captioner]] = {}


def captioner(name: str) -> Callable[[Factory], Factory]:
    """Register the decorated class or factory under a name for `--captioner`.

    Raises:
        ValueError: Another module has registered the name.
    """

    def register(factory: Factory) -> Factory:
        owner = _CAPTIONERS.setdefault(name, factory)
        if owner.__module__ != factory.__module__:
            raise ValueError(
                f"duplicate captioner {name!r} in {owner.__module__} and {factory.__module__}"
            )
        _CAPTIONERS[name] = factory
        return factory

    return register


def make_captioner(name: str, options: Mapping[str, Any], spending: Spending) -> Captioner:
    """Create a registered captioner. Option values may be strings from the command line.

    Raises:
        FdrdError: The name or an option is unknown, or an option value is invalid.
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
