"""What the card and its plots say of captions, attributes and provenance, counted while records pass by."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from fdrd.record import Record

# Words that hold English sentences together, and are rare in other languages.
_ENGLISH = re.compile(r"\b(?:the|with|of|and|is|has|on|this|its)\b", re.IGNORECASE)
ENGLISH_SHARE = 0.5
"""Share of captions with such a word from which on a dataset is called English."""


@dataclass(slots=True)
class Summary:
    """Counts of one domain."""

    domain: str
    rows: int = 0
    described: int = 0
    """Rows with an attribute at least."""
    english: int = 0
    """Rows whose caption has an English function word."""
    words: Counter[int] = field(default_factory=Counter)
    """Rows by number of words in the caption."""
    attributes: Counter[str] = field(default_factory=Counter)
    """Spans by type."""
    negatives: Counter[str] = field(default_factory=Counter)
    """By kind, and for attributes also by type: `attribute: colour`."""
    categories: Counter[str] = field(default_factory=Counter)
    """Rows by category."""
    licences: Counter[str] = field(default_factory=Counter)
    """Rows by licence."""

    def count(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records, counted while they pass."""
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
            self.licences[record.source.license] += 1
            yield record

    def add(self, other: Summary) -> None:
        """Adds the counts of other rows of the domain."""
        self.rows += other.rows
        self.described += other.described
        self.english += other.english
        for mine, counts in (
            (self.attributes, other.attributes),
            (self.negatives, other.negatives),
            (self.categories, other.categories),
            (self.licences, other.licences),
        ):
            mine.update(counts)
        self.words.update(other.words)


def quantile(counts: Counter[int], share: float) -> int:
    """The smallest value that at least `share` of the counted ones do not exceed.

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
    """Whether most captions have an English function word."""
    found = list(summaries)
    return sum(each.english for each in found) > ENGLISH_SHARE * sum(each.rows for each in found)
