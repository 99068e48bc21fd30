"""What a reviewer works through: queues of rows, the record as decisions change it, and new decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from fdrd.curation.decisions import Decision, Outcome, content_digest, review_record
from fdrd.record import Attribute, ImageRef, Negative, Record, Source
from fdrd.viewer.facets import Indices, mixed

QUEUES = {
    "random": "Random",
    "stratified": "By category",
    "flagged": "Flagged by the audit",
    "boundary": "Near the decision boundary",
}


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
        as_record(row), row["image"], [d for d in decisions if d.action not in ("comment", "keep")]
    )


def with_reasons(decisions: Sequence[Decision], outcome: Outcome) -> list[tuple[Decision, str]]:
    """Return decisions, each with the reason that it was not applied or an empty text."""
    reasons = {id(decision): reason for decision, reason in outcome.stale}
    return [(decision, reasons.get(id(decision), "")) for decision in decisions]


def new_decision(row: Mapping[str, Any], reviewer: str, action: str, value: Any = "") -> Decision:
    """Return a decision on a row of the index, made now."""
    return Decision(row["id"], digest_of(row), reviewer, _now(), action, value)


def keep_decision(rejection: Mapping[str, str], reviewer: str) -> Decision:
    """Return the decision to keep a rejected record after all."""
    return Decision(
        f"{rejection['file']}: {rejection['key']}",
        "",
        reviewer,
        _now(),
        "keep",
        rejection["reason"],
    )


def queue(
    kind: str, rows: Indices, category: Indices, flagged: Indices, boundary: Indices
) -> Indices:
    """Return the rows of a selection in the order in which they are reviewed.

    Args:
        kind: a key of `QUEUES`.
        rows: rows of the selection.
        category: category of every row of the index.
        flagged: rows that the audit flagged.
        boundary: rows near the decision boundary of a method, nearest first.
    """
    shuffled = rows[np.argsort(mixed(rows), kind="stable")]
    if kind == "flagged":
        return shuffled[np.isin(shuffled, flagged)]
    if kind == "boundary":
        return boundary[np.isin(boundary, rows)]
    if kind == "stratified":
        of = category[shuffled]
        order = np.argsort(of, kind="stable")  # rows of a category together, shuffled inside
        starts = np.searchsorted(of[order], of[order], side="left")
        turn = np.empty(len(of), np.int64)
        turn[order] = np.arange(len(of)) - starts  # the how-manieth of its category a row is
        return shuffled[np.lexsort((of, turn))]
    return shuffled


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
