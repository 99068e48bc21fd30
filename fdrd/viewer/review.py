"""A review: its append-only file of decisions, what they come to, the queues, and the record as decisions change it.

A decision is on the disk before `add` returns. Several servers may append to one file; each reads what is new.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock

from fdrd.curation import decisions as reviews
from fdrd.curation.decisions import CORRECTIONS, NOTES, Decision, Outcome
from fdrd.errors import FdrdError
from fdrd.files.atomic import sync_folder
from fdrd.negatives.natural_pairs import splitmix64
from fdrd.record import Attribute, ImageRef, Negative, Record, Source
from fdrd.viewer.facets import Indices

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
_VERDICT = {"accept": "accept", "drop": "drop", **dict.fromkeys(CORRECTIONS, "correct")}


def review_folder(dataset: Path) -> Path:
    """Return the folder of a dataset's reviews. It is next to the dataset, which a build replaces."""
    dataset = dataset.absolute()
    return dataset.with_name(f"{dataset.name}.review")


def decisions_path(dataset: Path, name: str) -> Path:
    """Return the file of a review.

    Raises:
        FdrdError: the name is not a plain file name.
    """
    if not name or name.startswith(".") or not all(c.isalnum() or c in "-_." for c in name):
        remedy = "use letters, digits, '-', '_' and '.', as in 'first-pass'"
        raise FdrdError(f"--review {name!r}: {remedy}")
    return review_folder(dataset) / name / "decisions.jsonl"


def _end_of_lines(file: BinaryIO) -> int:
    """Return where the last line feed of a file ends; only the end of the file is read."""
    start = file.seek(0, os.SEEK_END)
    while start:
        size = min(start, 1 << 16)
        start = file.seek(start - size)
        if (found := file.read(size).rfind(b"\n")) >= 0:
            return start + found + 1
    return 0


class Review:
    """The decisions of one review."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        self._state: tuple[int, ...] = ()  # what identifies the file that was read
        self._read = b""  # its lines
        self._replaced = 0
        self._decisions: list[Decision] = []
        self._effective: tuple[object, list[Decision], dict[str, list[Decision]]] = (None, [], {})

    def decisions(self) -> list[Decision]:
        """Return all decisions in the file, those of other servers included."""
        return self._current()[1]

    @property
    def version(self) -> tuple[int, int]:
        """What changes whenever the decisions do: files that were replaced, and decisions in the last one."""
        return self._current()[0]

    def _current(self) -> tuple[tuple[int, int], list[Decision]]:
        with self._lock:
            state: tuple[int, ...] = ()
            with suppress(FileNotFoundError):
                status = self.path.stat()
                state = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
            if state != self._state:
                remedy = "move it, or name another --review"
                lines = reviews.whole_lines(reviews.read_file(self.path, remedy)) if state else b""
                if not lines.startswith(self._read):  # another file took its place
                    self._replaced, self._read, self._decisions = self._replaced + 1, b"", []
                new, first = lines[len(self._read) :], self._read.count(b"\n") + 1
                try:
                    self._decisions.extend(reviews.parse_decisions(new, first))
                except FdrdError as error:
                    raise FdrdError(f"{self.path}: {error}") from None
                self._state, self._read = state, lines
            return (self._replaced, len(self._decisions)), self._decisions

    def add(self, *decisions: Decision) -> None:
        """Append decisions; they are on the disk when this returns.

        Raises:
            FdrdError: it could not be read again, e.g. because the name of the reviewer is too long.
            OSError: the disk did not take it.
        """
        lines = b"".join(map(reviews.to_line, decisions))
        reviews.parse_decisions(lines)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            new = not self.path.exists()
            with self.path.open("a+b") as file:
                file.truncate(_end_of_lines(file))  # what a kill cut short was never acknowledged
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
            if new:
                sync_folder(self.path.parent)

    def effective(self) -> tuple[list[Decision], dict[str, list[Decision]]]:
        """Return the decisions that were not undone, and the same by record."""
        version, decisions = self._current()
        known, effective, by_record = self._effective
        if known != version:
            effective, grouped = reviews.in_effect(decisions[: version[1]]), defaultdict(list)
            for each in effective:
                grouped[each.record].append(each)
            by_record = dict(grouped)
            self._effective = version, effective, by_record
        return effective, by_record

    def of(self, record_id: str) -> list[Decision]:
        """Return the decisions on a record that are in effect."""
        return self.effective()[1].get(record_id, [])

    def status(self) -> dict[str, str]:
        """Return `verified` or `dropped` by record; records with comments alone are left out."""
        found: dict[str, str] = {}
        for each in self.effective()[0]:
            if each.action == "drop":
                found[each.record] = "dropped"
            elif each.action == "accept":
                found[each.record] = "verified"
            elif each.action in CORRECTIONS:
                found.setdefault(each.record, "verified")
        return found

    def _done(self) -> dict[str, set[str]]:
        """Return the records with a verdict, by reviewer."""
        done: dict[str, set[str]] = defaultdict(set)
        for each in self.effective()[0]:
            if each.action in ("accept", "drop"):
                done[each.reviewer].add(each.record)
        return done

    def done_by(self, reviewer: str) -> set[str]:
        """Return the records on which a reviewer gave a verdict."""
        return self._done().get(reviewer, set())

    def judged_by(self, reviewer: str) -> dict[str, set[str]]:
        """Return the negatives and partners that a reviewer judged, by record."""
        found: dict[str, set[str]] = defaultdict(set)
        for record, item, who in reviews.judged(self.effective()[0]):
            if who == reviewer:
                found[record].add(item)
        return found

    def last_of(self, reviewer: str) -> list[Decision]:
        """Return the reviewer's last decisions that are in effect: one, or those that were made at once."""
        of_reviewer = (d for d in reversed(self.effective()[0]) if d.reviewer == reviewer)
        last = next(of_reviewer, None)
        if last is None:
            return []
        return [last, *takewhile(lambda d: d.time == last.time and "." in d.time, of_reviewer)]

    def tags(self) -> dict[str, set[str]]:
        """Return the records that have a tag, by tag."""
        found: dict[str, set[str]] = defaultdict(set)
        for each in self.effective()[0]:
            if each.action in ("tag", "untag") and isinstance(each.value, str):
                records = found[each.value]
                (records.add if each.action == "tag" else records.discard)(each.record)
        return {tag: records for tag, records in found.items() if records}

    def progress(self) -> dict[str, int]:
        """Return the number of records with a verdict, by reviewer."""
        return {reviewer: len(records) for reviewer, records in sorted(self._done().items())}

    def agreement(self) -> float | None:
        """Return Krippendorff's alpha of accept, correct, and drop; None where no record has two reviewers."""
        verdicts: dict[tuple[str, str], str] = {}
        for each in self.effective()[0]:
            if each.action in _VERDICT:
                key, verdict = (each.record, each.reviewer), _VERDICT[each.action]
                if not (verdict == "accept" and verdicts.get(key) == "correct"):
                    verdicts[key] = verdict
        return krippendorff_alpha(verdicts)


def krippendorff_alpha(verdicts: Mapping[tuple[str, str], str]) -> float | None:
    """Return Krippendorff's alpha of nominal verdicts by (unit, reviewer); None where it is undefined.

    >>> krippendorff_alpha({("1", "a"): "x", ("1", "b"): "x", ("2", "a"): "y", ("2", "b"): "y"})
    1.0
    """
    import krippendorff

    by_unit: dict[str, Counter[str]] = defaultdict(Counter)
    for (unit, _), verdict in verdicts.items():
        by_unit[unit][verdict] += 1
    values = sorted(set(verdicts.values()))
    several = (counted for counted in by_unit.values() if counted.total() > 1)
    counts = np.array([[counted[value] for value in values] for counted in several])
    if not len(counts):
        return None
    if np.count_nonzero(counts.sum(axis=0)) < 2:
        return 1.0  # all reviewers gave one verdict everywhere
    return float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))


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
    return reviews.content_digest(row["image"], record.caption, record.category, record.attributes)


def corrected(row: Mapping[str, Any], decisions: Sequence[Decision]) -> Outcome:
    """Return a record as decisions change it, with those of them that were not applied and the reasons."""
    applied = [each for each in decisions if each.action not in {*NOTES, "keep"}]
    return reviews.review_record(as_record(row), row["image"], applied)


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


def queue(kind: str, rows: Indices, category: Indices, candidates: Indices) -> Indices:
    """Return the rows of a selection in the order in which they are reviewed.

    Args:
        kind: a key of `QUEUES`.
        rows: rows of the selection.
        category: category of every row of the index.
        candidates: rows that the queue may hold, in its order; those that the audit flagged are shuffled.
    """
    shuffled = rows[np.argsort(splitmix64(rows), kind="stable")]
    if kind in ("flagged", *JUDGED):
        return shuffled[np.isin(shuffled, candidates)]
    if kind in ("mislabeled", "hardest", "boundary"):
        return candidates[np.isin(candidates, rows)]
    if kind == "stratified":
        codes = category[shuffled]
        order = np.argsort(codes, kind="stable")  # rows of a category together, shuffled inside
        starts = np.searchsorted(codes[order], codes[order], side="left")
        turn = np.empty(len(codes), np.int64)
        turn[order] = np.arange(len(codes)) - starts  # the how-manieth of its category a row is
        return shuffled[np.lexsort((codes, turn))]
    return shuffled


def now() -> str:
    """Return the time as decisions have it."""
    # Decisions made at once share their time, by which they are undone together; no others may have it.
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
