"""Captioners: what they must be able to do, and how they are found by name.

A captioner is registered by decorating the function that makes it. Its keyword arguments are its options (`-C
name=value`); the one positional argument is where it writes down what it spends.

    @captioner("mine")
    def mine(spending: Spending, *, model: str = "") -> Captioner:
        return Mine(model)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from fdrd.captioning.pictures import Picture
from fdrd.errors import FdrdError
from fdrd.options import Option, options_of, unknown


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about one picture."""

    picture: Picture
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `cut` says that it ended at the limit of its length, not where the model would have ended it."""

    text: str
    input_tokens: int = 0
    output_tokens: int = 0
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """Why nothing came back: a key of `fdrd.captioning.reasons.FAILURES`, and what was said."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Expected:
    """What an answer is expected to take at most. `cost` is None where prices are not known."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0


Keep = Callable[[Question, Answer | Failure], None]
"""Called with each answer as soon as it is there, from any thread; it is stored when the call returns."""


class Captioner(Protocol):
    """Whatever answers a question about a picture; any class with these names will do."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Model, revision and every parameter that decides an answer: a part of the cache's key, as JSON."""

    @property
    def converses(self) -> bool:
        """Whether it reads the question: such a one is asked again with what was wrong, and may evaluate."""

    @property
    def free(self) -> bool:
        """Whether its answers cost so little that none is kept in the cache."""

    def expected(self, text: str) -> Expected:
        """What a question of this text takes."""

    def answer(self, questions: Iterator[Question], keep: Keep) -> str:
        """Takes questions one by one, or in batches, and keeps each answer.

        Returns:
            Why it took no further question (a key of `FAILURES`), or "" when there was none left.

        Raises:
            FdrdError: no question can be answered: a key that is refused, a model that is not there.
        """


Factory = TypeVar("Factory", bound=Callable[..., Captioner])

_CAPTIONERS: dict[str, Callable[..., Captioner]] = {}


def captioner(name: str) -> Callable[[Factory], Factory]:
    """Register the decorated factory under a name, as in `--captioner`.

    Raises:
        ValueError: another factory has the name.
    """

    def register(factory: Factory) -> Factory:
        owner = _CAPTIONERS.get(name)
        if owner is not None and owner.__module__ != factory.__module__:
            raise ValueError(
                f"two captioners are called {name!r}: in {owner.__module__} and {factory.__module__}"
            )
        _CAPTIONERS[name] = factory
        return factory

    return register


def get_captioner(name: str) -> Callable[..., Captioner]:
    """The factory of that name.

    Raises:
        FdrdError: there is none.
    """
    if name not in _CAPTIONERS:
        raise FdrdError(unknown("captioner", name, _CAPTIONERS, "fdrd"))
    return _CAPTIONERS[name]


def captioner_names() -> list[str]:
    """All registered names, sorted."""
    return sorted(_CAPTIONERS)


def captioner_options(name: str) -> dict[str, Option]:
    """The options of a captioner."""
    return options_of(get_captioner(name))


def captioner_summary(name: str) -> str:
    """The first line of a captioner's docstring."""
    return (inspect.getdoc(get_captioner(name)) or "").partition("\n")[0]
