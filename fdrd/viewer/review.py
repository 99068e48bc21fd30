"""What a reviewer works through: queues of rows, the record as decisions change it, and new decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from fdrd.curation.decisions import NOTES, Decision, Outcome, content_digest, review_record
from fdrd.record import Attribute, ImageRef, Negative, Record, Source
from fdrd.viewer.facets import Indices, mixed

QUEUES = {
    "random": "Random",
    "stratified": "By category",
    "flagged": "Flagged by the audit",
    "mislabeled": "Likely mislabeled",
    "hardest": "Hardest queries",
    "boundary": "Near the decision boundary",
    "negatives": "Hard negatives",
    "pairs": "Natural pairs",
}
JUDGED = frozenset({"negatives", "pairs"})
"""Queues in which questions about items of a record are answered, instead of a verdict on the record."""


def as_record(row: Mapping[str, Any]) -> Record:
    """Return the record of a row of the index."""
    return Record(
        row["id"],
        ImageRef(row["file"]),
        row["caption"],
        row["category"].removeprefix(f"{row['domain']}: "),
        Source(row["file"], row["image"], row["license"], row["origin"]),
        domain=row["domain"],
        attributes=tuple(Attribute(**span) for span in row["attributes"]),
        negatives=tuple(Negative(**each) for each in row["negatives"]),
    )


def digest_of(row: Mapping[str, Any]) -> str:
    """Return the digest of what a reviewer sees of a row."""
    record = as_record(row)
    return content_digest(row["image"], record.caption, record.category, record.attributes)


def corrected(row: Mapping[str, Any], decisions: Sequence[Decision]) -> Outcome:
    """Return a record as decisions change it, with those of them that were not applied and the reasons."""
    return review_record(
        as_record(row), row["image"], [d for d in decisions if d.action not in {*NOTES, "keep"}]
    )


def with_reasons(decisions: Sequence[Decision], outcome: Outcome) -> list[tuple[Decision, str]]:
    """Return decisions, each with the reason that it was not applied or an empty text."""
    reasons = {id(decision): reason for decision, reason in outcome.stale}
    return [(decision, reasons.get(id(decision), "")) for decision in decisions]


def new_decision(
    row: Mapping[str, Any], reviewer: str, action: str, value: Any = "", time: str = ""
) -> Decision:
    """Return a decision on a row of the index, made at `time` or now."""
    return Decision(row["id"], digest_of(row), reviewer, time or now(), action, value)


def flaw_of(row: Mapping[str, Any], before: Sequence[Decision], decision: Decision) -> str:
    """Return why a decision would not be applied after those before it, or an empty text."""
    outcome = corrected(row, [*before, decision])
    return next((reason for each, reason in outcome.stale if each is decision), "")


def rejected_decision(record: str, reviewer: str, action: str, value: str) -> Decision:
    """Return the decision to keep a rejected record, `file: key`, after all, or to give it a caption."""
    return Decision(record, "", reviewer, now(), action, value)


def queue(kind: str, rows: Indices, category: Indices, candidates: Indices) -> Indices:
    """Return the rows of a selection in the order in which they are reviewed.

    Args:
        kind: a key of `QUEUES`.
        rows: rows of the selection.
        category: category of every row of the index.
        candidates: rows that the queue may hold, in its order; those that the audit flagged are shuffled.
    """
    shuffled = rows[np.argsort(mixed(rows), kind="stable")]
    if kind in ("flagged", *JUDGED):
        return shuffled[np.isin(shuffled, candidates)]
    if kind in ("mislabeled", "hardest", "boundary"):
        return candidates[np.isin(candidates, rows)]
    if kind == "stratified":
        of = category[shuffled]
        order = np.argsort(of, kind="stable")  # rows of a category together, shuffled inside
        starts = np.searchsorted(of[order], of[order], side="left")
        turn = np.empty(len(of), np.int64)
        turn[order] = np.arange(len(of)) - starts  # the how-manieth of its category a row is
        return shuffled[np.lexsort((of, turn))]
    return shuffled


def now() -> str:
    """Return the time as decisions have it."""
    # Decisions made at once share their time, by which they are undone together; no others may have it.
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
