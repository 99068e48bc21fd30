"""What reviewers say about hard negatives and natural pairs: whether they are false, fluent, and guessable.

The answers are decisions with the action `judge`. They measure a dataset and change nothing in a build.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from fdrd.curation.decisions import QUESTIONS, Decision, value_flaw

__all__ = ["QUESTIONS", "ReviewedShare", "judged", "reviewed_shares"]


@dataclass(frozen=True, slots=True)
class ReviewedShare:
    """How often reviewers said yes to a question about a kind of items.

    Attributes:
        kind: kind of the items, e.g. `attribute` or `natural category pair`.
        question: one of `QUESTIONS`.
        yes: for each record, the answers that say yes.
        count: for each record, all answers.
    """

    kind: str
    question: str
    yes: tuple[int, ...]
    count: tuple[int, ...]

    @property
    def share(self) -> float:
        """The share of answers that say yes."""
        return sum(self.yes) / sum(self.count)


def judged(decisions: Iterable[Decision]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Return the last judgment by (record, item, reviewer); those with an unfit value are left out."""
    found = {}
    for each in decisions:
        if each.action == "judge" and not value_flaw("judge", each.value):
            found[each.record, each.value["item"], each.reviewer] = each.value
    return found


def reviewed_shares(
    decisions: Iterable[Decision], items: Mapping[str, Set[str]]
) -> list[ReviewedShare]:
    """Return the answers of all reviewers about items that the dataset has, by kind and question.

    Args:
        decisions: decisions in effect.
        items: texts of negatives and ids of partners by record id.
    """
    by_kind: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for (record, item, _), value in judged(decisions).items():
        if item in items.get(record, ()):
            by_kind.setdefault(value["kind"], {}).setdefault(record, []).append(value)
    return [
        ReviewedShare(
            kind,
            question,
            tuple(sum(value[question] for value in values) for values in records.values()),
            tuple(map(len, records.values())),
        )
        for kind, records in sorted(by_kind.items())
        for question in QUESTIONS
    ]
