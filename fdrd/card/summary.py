"""Counts for the card: captions, attributes, negatives, categories, and licenses of a domain."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

from fdrd.record import Record

# Function words that are frequent in English and rare in other languages.
_ENGLISH = re.compile(r"\b(?:the|with|of|and|is|has|on|this|its)\b", re.IGNORECASE)
_ENGLISH_SHARE = 0.5
_FEW = 0.1  # pairs with attributes, or negatives per pair


@dataclass(slots=True)
class Summary:
    """Counts of one domain; the counters count rows, attribute spans, or negatives."""

    domain: str
    rows: int = 0
    described: int = 0  # with at least one attribute
    english: int = 0  # whose caption has an English function word
    words: Counter[int] = field(default_factory=Counter)  # length of the caption
    attributes: Counter[str] = field(default_factory=Counter)  # type
    negatives: Counter[str] = field(default_factory=Counter)  # kind, e.g. `attribute: color`
    partners: Counter[tuple[str, str]] = field(default_factory=Counter)  # split and kind
    categories: Counter[str] = field(default_factory=Counter)
    licenses: Counter[str] = field(default_factory=Counter)

    def count(self, record: Record) -> None:
        """Count one row."""
        self.rows += 1
        self.described += bool(record.attributes)
        self.english += _ENGLISH.search(record.caption) is not None
        self.words[len(record.caption.split())] += 1
        self.attributes.update([attribute.type for attribute in record.attributes])
        self.negatives.update(
            [
                f"attribute: {negative.attribute_type}"
                if negative.kind == "attribute" and negative.attribute_type
                else negative.kind
                for negative in record.negatives
            ]
        )
        self.partners.update([(record.split, each.kind) for each in record.natural_pairs])
        if record.category:
            self.categories[record.category] += 1
        self.licenses[record.source.license] += 1

    def add(self, other: Summary) -> None:
        """Add the counts of other rows of the domain."""
        for each in fields(self)[1:]:
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


def gaps(summaries: Iterable[Summary]) -> list[str]:
    """Return a sentence for each domain whose captions have hardly any attributes or hard negatives.

    >>> gaps([Summary("vögel", rows=80, english=2)])
    ['vögel: 0 of 80 pairs have attributes, and 0 hard negatives were drawn. Attributes need English words.']
    """
    found = []
    for each in summaries:
        negatives = each.negatives.total()
        if min(each.described, negatives) < _FEW * each.rows:
            foreign = each.english <= _ENGLISH_SHARE * each.rows
            why = " Attributes need English words." if foreign else ""
            found.append(
                f"{each.domain}: {each.described:,} of {each.rows:,} pairs have attributes, and {negatives:,} hard "
                f"negatives were drawn.{why}"
            )
    return found


def quantile(counts: Counter[int], share: float) -> int:
    """Return the smallest value that at least `share` of the counted values do not exceed.

    >>> quantile(Counter({3: 1, 5: 2, 9: 1}), 0.5), quantile(Counter({3: 1}), 0.9)
    (5, 3)
    """
    wanted, seen = share * counts.total(), 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= wanted:
            return value
    raise ValueError("nothing was counted")


def is_english(summaries: Iterable[Summary]) -> bool:
    """Return whether most captions have an English function word."""
    found = list(summaries)
    return sum(each.english for each in found) > _ENGLISH_SHARE * sum(each.rows for each in found)
