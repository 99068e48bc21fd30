"""The rows behind the counts of an audit: flagged captions and negatives, shared captions, kept near duplicates."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fdrd.checks.flaws import FLAWS, NEGATIVE_FLAWS, caption_flaws, flawed_negatives
from fdrd.checks.tally import KeySet, true_captions
from fdrd.curation.leaks import CLUSTER
from fdrd.errors import FdrdError
from fdrd.record import Record
from fdrd.text.normalize import text_key

REASONS: dict[str, str] = {
    **FLAWS,
    **{f"negative_{flaw}": text for flaw, text in NEGATIVE_FLAWS.items()},
    "shared_caption": "another row of the domain has the same caption",
    "near_duplicate": "another image of the group resembles this one, or is its mirrored or turned copy",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A reason of `REASONS` that applies to a row; a row with two such negatives has two findings."""

    reason: str
    domain: str
    id: str
    text: str
    """the caption, the negative, or the group of near duplicates"""


def find_rows(records: Iterable[Record]) -> Iterator[Finding]:
    """Yield the findings of all records, domain by domain."""
    of_domain: dict[str, list[Record]] = {}
    for record in records:
        of_domain.setdefault(record.domain, []).append(record)
    for domain, rows in sorted(of_domain.items()):
        true = true_captions(record.caption for record in rows)
        rows_with = Counter(record.caption for record in rows)
        images = {(record.group, record.source.sha256) for record in rows}
        images_in = Counter(group for group, _ in images if group.startswith(CLUSTER))
        for record in rows:
            for reason, text in _of_row(record, true, rows_with, images_in):
                yield Finding(reason, domain, record.id, text)


def parse_limits(options: Sequence[str]) -> dict[str, int]:
    """Parse `REASON=N` options: the number of findings up to which a check passes.

    >>> parse_limits(["negative_equal=0"])
    {'negative_equal': 0}

    Raises:
        FdrdError: the reason is unknown, or N is not a number from 0.
    """
    limits = {}
    for option in options:
        reason, _, number = (part.strip() for part in option.partition("="))
        if reason not in REASONS:
            close = difflib.get_close_matches(reason, REASONS, n=1) or REASONS
            raise FdrdError(
                f"--fail-on {option!r}: unknown reason {reason!r}; try {', '.join(close)}"
            )
        if not re.fullmatch(r"[0-9]{1,18}", number):
            raise FdrdError(f"--fail-on {option!r}: give REASON=N, e.g. {reason}=0")
        limits[reason] = int(number)
    return limits


def exceeded(found: Iterable[Finding], limits: Mapping[str, int]) -> list[str]:
    """Return a sentence for each reason with more findings than its limit."""
    counts = Counter(finding.reason for finding in found)
    return [
        f"{counts[reason]:,} {reason}, the limit is {limit:,}"
        for reason, limit in limits.items()
        if counts[reason] > limit
    ]


def _of_row(
    record: Record, true: KeySet, rows_with: Mapping[str, int], images_in: Mapping[str, int]
) -> Iterator[tuple[str, str]]:
    for flaw in caption_flaws(record.caption, record.category):
        yield flaw, record.caption
    for flaw, text in flawed_negatives(record, lambda text: text_key(text) in true):
        yield f"negative_{flaw}", text
    if rows_with[record.caption] > 1:
        yield "shared_caption", record.caption
    if images_in.get(record.group, 0) > 1:
        yield "near_duplicate", record.group
