"""What is done about each reason against a record: keep it and report it, drop it, or fail the build.

A policy is a mapping of all keys of `fdrd.reasons.REASONS` to an action. A record that is kept in spite
of a reason carries the reason among its `rules`, where the manifest counts it as reported.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import get_args

from fdrd.errors import CheckError, FdrdError
from fdrd.reasons import KEEPABLE, KEPT_IN_REVIEW, REASONS, Action, Rejection
from fdrd.record import Record

Policy = Mapping[str, Action]


def default_action(reason: str) -> Action:
    """What is done about a reason unless the user decides."""
    return KEEPABLE.get(reason, "drop")


def resolve(chosen: Mapping[str, str]) -> dict[str, Action]:
    """The whole policy: what was chosen, and the defaults of all other reasons.

    >>> resolve({"image_in_other_split": "fail"})["image_in_other_split"]
    'fail'

    Raises:
        FdrdError: there is no such reason or action, or a record without a usable image or caption
            would be kept.
    """
    for reason, action in chosen.items():
        given = f"--policy {reason}={action}"
        if reason not in REASONS:
            raise FdrdError(f"{given}: no reason is called {reason!r}{_near(reason, REASONS)}")
        if action not in get_args(Action):
            raise FdrdError(
                f"{given}: an action is keep, drop or fail{_near(action, get_args(Action))}"
            )
        if action == "keep" and reason not in KEEPABLE:
            raise FdrdError(
                f"{given}: such a record cannot be kept ({REASONS[reason]}); choose drop or fail"
            )
    actions: dict[str, Action] = {action: action for action in get_args(Action)}
    return {
        reason: actions[chosen[reason]] if reason in chosen else default_action(reason)
        for reason in REASONS
    }


def parse(options: Iterable[str]) -> dict[str, Action]:
    """The whole policy of `REASON=ACTION` options; of two for one reason the later counts.

    >>> parse(["duplicate_pair=keep"])["duplicate_pair"]
    'keep'

    Raises:
        FdrdError: an option has another form, or `resolve` does not take it.
    """
    chosen: dict[str, str] = {}
    for option in options:
        reason, equals, action = (part.strip() for part in option.partition("="))
        if not (reason and equals and action):
            raise FdrdError(
                f"--policy {option!r}: give REASON=keep, REASON=drop or REASON=fail, as in "
                "caption_in_other_split=drop; `fdrd build --help` lists the reasons"
            )
        chosen[reason] = action
    return resolve(chosen)


def settle(record: Record, reason: str, detail: str, policy: Policy) -> Record | Rejection:
    """The record with the reason among its rules where the policy keeps it, else its rejection."""
    in_spite = reason in KEEPABLE and KEPT_IN_REVIEW in record.rules
    if policy[reason] == "keep" or in_spite:
        return replace(record, rules=(*record.rules, reason))
    return reject(record, reason, detail)


def reject(record: Record, reason: str, detail: str) -> Rejection:
    """The rejection of a record, under the annotation that it came from."""
    file, _, key = record.source.origin.partition(": ")
    return Rejection(file, key, reason, detail)


def refused(rejected: Iterable[Rejection], policy: Policy) -> list[Rejection]:
    """The rejections that fail a build."""
    return [rejection for rejection in rejected if policy.get(rejection.reason) == "fail"]


def refusal(refused: Sequence[Rejection], listed_in: object) -> CheckError:
    """The failure of a build that has refused rejections; all of them stand in the file `listed_in`."""
    first = refused[0]
    counts = Counter(rejection.reason for rejection in refused)
    said = ", ".join(f"{count:,} {reason}" for reason, count in counts.items())
    place = " ".join(filter(None, (first.file, first.key)))
    return CheckError(
        f"the policy has the build fail on {said}; the first is {place}: {first.detail}. All are "
        f"in {listed_in}; mend the source, or give --policy {first.reason}={default_action(first.reason)}"
    )


def _near(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    if found:
        return f"; did you mean {' or '.join(found)}?"
    return "; `fdrd build --help` lists them"
