"""Counts of an audit. They add up, so shards can be counted in parallel."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields

from fdrd.checks.flaws import caption_flaws, flawed_negatives
from fdrd.negatives.given import plain
from fdrd.record import Record
from fdrd.text.attributes import find_attributes
from fdrd.text.tokens import estimate_clip_tokens


@dataclass(slots=True)
class Tally:
    """Counts of some rows of one domain."""

    rows: int = 0
    captions: Counter[int] = field(default_factory=Counter)
    """rows by `caption_key`"""
    negatives: int = 0
    tokens: int = 0
    """sum of the estimated CLIP tokens of all captions"""
    most_tokens: int = 0
    flaws: Counter[str] = field(default_factory=Counter)
    """rows by flaw of the caption"""
    rows_with: Counter[str] = field(default_factory=Counter)
    """rows by flaw of a negative"""
    number_of: Counter[str] = field(default_factory=Counter)
    """negatives by flaw"""
    size: Counter[str] = field(default_factory=Counter)
    """rows by category"""
    having: Counter[tuple[str, str]] = field(default_factory=Counter)
    """rows by category and attribute type"""
    rows_with_negatives: int = 0
    longest_is_true: float = 0.0
    """rows whose longest candidate is the true caption; ties count in part"""
    true_words: int = 0
    """words of the captions of rows with negatives"""
    negative_words: float = 0.0
    """sum over rows of the mean number of words of their negatives"""
    in_true: Counter[str] = field(default_factory=Counter)
    """captions that have a word, each weighted by its number of negatives"""
    in_negatives: Counter[str] = field(default_factory=Counter)
    """negatives that have a word"""

    def count(self, record: Record, true: Collection[int]) -> None:
        """Count one row. `true` has the `caption_key` of every normalized caption of the domain."""
        self.rows += 1
        self.captions[caption_key(record.caption)] += 1
        self.negatives += len(record.negatives)
        tokens = estimate_clip_tokens(record.caption)
        self.tokens += tokens
        self.most_tokens = max(self.most_tokens, tokens)
        self.flaws.update(caption_flaws(record.caption, record.category))
        negatives = flawed_negatives(record, lambda text: caption_key(text) in true)
        found = [flaw for flaw, _ in negatives]
        self.number_of.update(found)
        self.rows_with.update(set(found))
        attributes = record.attributes or find_attributes(record.caption, record.category)
        self.size[record.category] += 1
        types = {attribute.type for attribute in attributes}
        self.having.update((record.category, type_) for type_ in types)
        if record.negatives:
            self._compare(record.caption, [negative.caption for negative in record.negatives])

    def _compare(self, caption: str, negatives: Sequence[str]) -> None:
        self.rows_with_negatives += 1
        self.longest_is_true += _is_longest(caption, negatives)
        words = caption.split()
        self.true_words += len(words)
        split = [text.split() for text in negatives]
        self.negative_words += sum(map(len, split)) / len(split)
        for word in set(words):
            self.in_true[word] += len(negatives)
        for each in split:
            self.in_negatives.update(set(each))

    def add(self, other: Tally) -> None:
        """Add the counts of other rows of the domain."""
        most = max(self.most_tokens, other.most_tokens)
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, Counter):
                mine.update(theirs)
            else:
                setattr(self, each.name, mine + theirs)
        self.most_tokens = most


def caption_key(caption: str) -> int:
    """Return 64 bits of a hash of the caption, which take less memory than the caption itself."""
    data = caption.encode("utf-8", "replace")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())


def true_captions(captions: Collection[str]) -> set[int]:
    """Return the keys of normalized captions."""
    return {caption_key(plain(caption)) for caption in captions}


def _is_longest(caption: str, negatives: Sequence[str]) -> float:
    longest = max(map(len, negatives))
    if len(caption) < longest:
        return 0.0
    return 1 / (1 + sum(len(text) == len(caption) for text in negatives))
