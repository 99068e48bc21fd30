"""Count what the noise filters would reject in existing captions, for each filter and in all."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from fdrd.captioning.noise import FILTERS, Draft
from fdrd.captioning.wording import describe_directly
from fdrd.record import Record
from fdrd.text.tokens import estimate_clip_tokens

EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class FilterCount:
    """Rows that a filter rejects, that `fdrd caption` would fix, that no other filter rejects; digests and keys."""

    rows: int
    fixed: int
    alone: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class NoiseReport:
    """Rows of one file or domain: all, rejected, and rejected after rewording by `fdrd caption`."""

    domain: str
    rows: int
    rejected: int
    after: int
    filters: dict[str, FilterCount]


def count_noise(
    records: Iterable[Record], scores: Sequence[float] = (), min_score: float | None = None
) -> tuple[NoiseReport, ...]:
    """Count what each filter would reject, by domain. `scores` has the CLIP score of each record, or nothing."""
    domains: dict[str, list[tuple[Record, float | None]]] = defaultdict(list)
    for index, record in enumerate(records):
        domains[record.domain].append((record, scores[index] if scores else None))
    return tuple(_count_domain(name, domains[name], min_score) for name in sorted(domains))


def digest(caption: str) -> str:
    """Return 12 digits of the caption's sha256, to cite a caption without its words.

    >>> digest("A wren.")
    'd308d2642302'
    """
    return hashlib.sha256(caption.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _count_domain(
    domain: str, rows: Sequence[tuple[Record, float | None]], min_score: float | None
) -> NoiseReport:
    categories = tuple(sorted({record.category for record, _ in rows}))
    judged: list[tuple[Record, list[str], list[str]]] = []
    for record, score in rows:
        text, tokens = record.caption, estimate_clip_tokens(record.caption)
        draft = Draft(text, record.category, categories, tokens, score=score, min_score=min_score)
        before = _rejecting(draft)
        reworded = replace(draft, caption=describe_directly(text))
        judged.append((record, before, _rejecting(reworded) if before else []))
    filters = {}
    for name in FILTERS:
        found = [row for row in judged if name in row[1]]
        cited = {digest(record.caption): record.source.origin for record, *_ in found}
        keys = [(each, cited[each].partition(": ")[2]) for each in sorted(cited)[:EXAMPLES]]
        fixed = sum(name not in after for *_, after in found)
        alone = sum(before == [name] for _, before, _ in found)
        filters[name] = FilterCount(len(found), fixed, alone, tuple(keys))
    rejected = sum(bool(before) for _, before, _ in judged)
    return NoiseReport(domain, len(rows), rejected, sum(bool(row[2]) for row in judged), filters)


def _rejecting(draft: Draft) -> list[str]:
    return [name for name, (_, test) in FILTERS.items() if test(draft)]
