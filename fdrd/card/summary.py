"""Counts for the card: captions, attributes, negatives, categories, and licenses of a domain."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields

from fdrd.record import Record

# Function words that are frequent in English and rare in other languages.
_ENGLISH = re.compile(r"\b(?:the|with|of|and|is|has|on|this|its)\b", re.IGNORECASE)
_ENGLISH_SHARE = 0.5


@dataclass(slots=True)
class Summary:
    """Counts of one domain.

    Attributes:
        domain: name.
        rows: number of rows.
        described: rows with at least one attribute.
        english: rows whose caption has an English function word.
        words: rows by number of words in the caption.
        attributes: spans by type.
        negatives: negatives by kind; attribute swaps also by type, e.g. `attribute: colour`.
        categories: rows by category.
        licenses: rows by license.
    """

    domain: str
    rows: int = 0
    described: int = 0
    english: int = 0
    words: Counter[int] = field(default_factory=Counter)
    attributes: Counter[str] = field(default_factory=Counter)
    negatives: Counter[str] = field(default_factory=Counter)
    categories: Counter[str] = field(default_factory=Counter)
    licenses: Counter[str] = field(default_factory=Counter)

    def count(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the records and count them."""
        for record in records:
            self.rows += 1
            self.described += bool(record.attributes)
            self.english += _ENGLISH.search(record.caption) is not None
            self.words[len(record.caption.split())] += 1
            self.attributes.update(attribute.type for attribute in record.attributes)
            self.negatives.update(
                f"attribute: {negative.attribute_type}"
                if negative.kind == "attribute" and negative.attribute_type
                else negative.kind
                for negative in record.negatives
            )
            self.categories[record.category] += 1
            self.licenses[record.source.license] += 1
            yield record

    def add(self, other: Summary) -> None:
        """Add the counts of other rows of the domain."""
        for each in fields(self)[1:]:
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


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
