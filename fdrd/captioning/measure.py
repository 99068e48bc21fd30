"""What the noise filters would reject of captions that are there already: each filter by itself, and all together."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fdrd.captioning.noise import FILTERS, Draft
from fdrd.captioning.wording import plain_speech
from fdrd.record import Record
from fdrd.text.tokens import estimate_clip_tokens

EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Found:
    """What one filter would reject.

    Attributes:
        rows: how many.
        mended: of them, how many it would let through as `fdrd caption` words them.
        alone: of them, how many no other filter would.
        examples: (digest of the caption, key of the record), spread over the rows.
    """

    rows: int
    mended: int
    alone: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Noise:
    """What the filters would reject of one annotation file, or of one domain.

    Attributes:
        domain: its name.
        rows: image-caption pairs.
        rejected: by one filter at least.
        after: the same of captions as `fdrd caption` words them.
        filters: by name.
    """

    domain: str
    rows: int
    rejected: int
    after: int
    filters: dict[str, Found]


def measure(
    records: Iterable[Record], scores: Sequence[float] = (), least_score: float | None = None
) -> tuple[Noise, ...]:
    """What each filter would reject, by domain, sorted by name.

    Args:
        records: with their captions.
        scores: of pictures and captions under a backbone, one per record; none: not asked.
        least_score: below which a caption is noise.
    """
    of_domain: dict[str, list[tuple[Record, float | None]]] = defaultdict(list)
    for place, record in enumerate(records):
        of_domain[record.domain].append((record, scores[place] if scores else None))
    return tuple(_measure(domain, of_domain[domain], least_score) for domain in sorted(of_domain))


def digest(caption: str) -> str:
    """By what a caption is cited without its words: twelve digits of its sha256.

    >>> digest("A wren.")
    'd308d2642302'
    """
    return hashlib.sha256(caption.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def tables(found: Sequence[Noise]) -> Any:
    """A table for a terminal: rows that each filter would reject, those that it alone would, and examples."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    shown = []
    for noise in found:
        title = (
            f"{noise.domain or '-'}: {noise.rejected:,} of {noise.rows:,} rows ({noise.rejected / noise.rows:.1%}) "
            f"would be rejected; as `fdrd caption` words them {noise.after:,} ({noise.after / noise.rows:.1%})"
        )
        table = Table(title=title, title_justify="left")
        heads = ("filter", "rows", "share", "mended", "alone", "digests and keys of some")
        for place, head in enumerate(heads):
            table.add_column(head, justify="right" if 0 < place < 5 else "left")
        for name, one in noise.filters.items():
            examples = ", ".join(f"{digest} {key}" for digest, key in one.examples)
            counts = (
                f"{one.rows:,}",
                f"{one.rows / noise.rows:.1%}",
                f"{one.mended:,}",
                f"{one.alone:,}",
            )
            table.add_row(*map(Text, (name, *counts, examples)))
        shown.append(table)
    return Group(*shown)


def _measure(
    domain: str, rows: Sequence[tuple[Record, float | None]], least_score: float | None
) -> Noise:
    categories = tuple(sorted({record.category for record, _ in rows}))
    rejecting: dict[str, list[Record]] = {name: [] for name in FILTERS}
    alone: Counter[str] = Counter()
    mended: Counter[str] = Counter()
    rejected = after = 0
    for record, score in rows:
        draft = Draft(
            caption=record.caption,
            category=record.category,
            categories=categories,
            tokens=estimate_clip_tokens(record.caption),
            score=score,
            least_score=least_score,
        )
        names = _names(draft)
        left = _names(replace(draft, caption=plain_speech(record.caption))) if names else []
        for name in names:
            rejecting[name].append(record)
        mended.update(set(names) - set(left))
        if len(names) == 1:
            alone[names[0]] += 1
        rejected += bool(names)
        after += bool(left)
    filters = {
        name: Found(len(found), mended[name], alone[name], _spread(found))
        for name, found in rejecting.items()
    }
    return Noise(domain, len(rows), rejected, after, filters)


def _names(draft: Draft) -> list[str]:
    return [name for name, (_, test) in FILTERS.items() if test(draft)]


def _spread(records: Sequence[Record]) -> tuple[tuple[str, str], ...]:
    """Some of the records, drawn by the digests of their captions."""
    cited = {digest(record.caption): record.source.origin.partition(": ")[2] for record in records}
    return tuple(sorted(cited.items())[:EXAMPLES])
