"""The action for each rejection reason: keep and report the record, drop it, or fail the build.

A policy maps all keys of `fdrd.reasons.REASONS` to actions. A record that is kept in spite of a reason has
the reason among its `rules`, and the manifest counts it as reported.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

from fdrd.errors import CheckError, FdrdError
from fdrd.reasons import KEEPABLE, REASONS, Action, Rejection
from fdrd.record import Record

Policy = Mapping[str, Action]


def default_action(reason: str) -> Action:
    """Return the action for a reason unless the user chooses another."""
    return KEEPABLE.get(reason, "drop")


def resolve(chosen: Mapping[str, str]) -> dict[str, Action]:
    """Return the complete policy: the chosen actions, and the defaults for all other reasons.

    >>> resolve({"image_in_other_split": "fail"})["image_in_other_split"]
    'fail'

    Raises:
        FdrdError: the reason or the action is unknown, or a record without a usable image or caption
            would be kept.
    """
    actions: dict[str, Action] = {action: action for action in get_args(Action)}
    for reason, action in chosen.items():
        choice = f"`policy` {reason}={action}"
        if reason not in REASONS:
            raise FdrdError(f"{choice}: unknown reason {reason!r}{_suggestion(reason, REASONS)}")
        if action not in actions:
            raise FdrdError(
                f"{choice}: the action must be keep, drop or fail{_suggestion(action, actions)}"
            )
        if action == "keep" and reason not in KEEPABLE:
            raise FdrdError(
                f"{choice}: such a record cannot be kept ({REASONS[reason]}); choose drop or fail"
            )
    return {
        reason: actions[chosen[reason]] if reason in chosen else default_action(reason)
        for reason in REASONS
    }


def parse(options: Iterable[str]) -> dict[str, Action]:
    """Return the complete policy for `REASON=ACTION` options; a later option overrides an earlier one.

    >>> parse(["duplicate_pair=keep"])["duplicate_pair"]
    'keep'

    Raises:
        FdrdError: an option has another form, or `resolve` rejects it.
    """
    chosen: dict[str, str] = {}
    for option in options:
        reason, equals, action = (part.strip() for part in option.partition("="))
        if not (reason and equals and action):
            raise FdrdError(
                f"`policy` {option!r}: give REASON=keep, REASON=drop or REASON=fail, e.g. "
                "caption_in_other_split=drop; `fdrd build --reasons` lists them"
            )
        chosen[reason] = action
    return resolve(chosen)


def reject(record: Record, reason: str, detail: str) -> Rejection:
    """Return the rejection of a record, located by the annotation that it came from."""
    file, _, key = record.source.origin.partition(": ")
    return Rejection(file, key, reason, detail)


def failing(rejected: Iterable[Rejection], policy: Policy) -> list[Rejection]:
    """Return the rejections for which the policy fails the build."""
    return [rejection for rejection in rejected if policy.get(rejection.reason) == "fail"]


def policy_error(failing: Sequence[Rejection], listed_in: object) -> CheckError:
    """Return the error for failing rejections, which the file `listed_in` lists."""
    first = failing[0]
    counts = Counter(rejection.reason for rejection in failing)
    text = ", ".join(f"{count:,} {reason}" for reason, count in counts.items())
    return CheckError(
        f"the policy fails the build because of {text}; the first is {first}. See {listed_in}; "
        f"fix the source, or give `policy` {first.reason}={default_action(first.reason)}"
    )


def _suggestion(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return "; `fdrd build --reasons` lists them"
