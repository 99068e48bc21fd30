"""What an audit counts of the rows of a domain: a few rows at a time, so that shards can be counted side by side."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from fdrd.checks.audit.flaws import caption_flaws, clip_tokens, negative_flaws
from fdrd.negatives.given import plain
from fdrd.record import Record
from fdrd.text.attributes import find_attributes


@dataclass(slots=True)
class Tally:
    """Counts of some rows.

    Attributes:
        rows: counted.
        captions: how often each caption occurs, by `caption_key`.
        negatives: of all rows.
        tokens: of CLIP, of all captions.
        most_tokens: of one caption.
        flaws: rows by flaw of the caption.
        rows_with: rows by flaw of a negative.
        number_of: negatives by flaw.
        size: rows by category.
        having: rows by category and type of attribute.
        rows_with_negatives: those that the rest is about.
        longest_is_true: of those; one that shares its length counts in part.
        true_words: of their captions.
        negative_words: sum over rows of the mean of their negatives.
        in_true: how often a caption has a word, times the negatives of its row.
        in_negatives: how many negatives have a word.
    """

    rows: int = 0
    captions: Counter[int] = field(default_factory=Counter)
    negatives: int = 0
    tokens: int = 0
    most_tokens: int = 0
    flaws: Counter[str] = field(default_factory=Counter)
    rows_with: Counter[str] = field(default_factory=Counter)
    number_of: Counter[str] = field(default_factory=Counter)
    size: Counter[str] = field(default_factory=Counter)
    having: dict[str, Counter[str]] = field(default_factory=dict)
    rows_with_negatives: int = 0
    longest_is_true: float = 0.0
    true_words: int = 0
    negative_words: float = 0.0
    in_true: Counter[str] = field(default_factory=Counter)
    in_negatives: Counter[str] = field(default_factory=Counter)

    def count(self, record: Record, true: Collection[int]) -> None:
        """Counts one row; `true` has the `caption_key` of every plain caption of the domain."""
        self.rows += 1
        self.captions[caption_key(record.caption)] += 1
        self.negatives += len(record.negatives)
        tokens = clip_tokens(record.caption)
        self.tokens += tokens
        self.most_tokens = max(self.most_tokens, tokens)
        self.flaws.update(caption_flaws(record.caption, record.category))
        found = [flaw for _, flaw in negative_flaws(record, lambda text: caption_key(text) in true)]
        self.number_of.update(found)
        self.rows_with.update(set(found))
        attributes = record.attributes or find_attributes(record.caption, record.category)
        self.size[record.category] += 1
        self.having.setdefault(record.category, Counter()).update(
            {attribute.type for attribute in attributes}
        )
        if record.negatives:
            self._compare(record.caption, [negative.caption for negative in record.negatives])

    def _compare(self, caption: str, negatives: Sequence[str]) -> None:
        self.rows_with_negatives += 1
        self.longest_is_true += _is_longest(caption, negatives)
        words = caption.split()
        self.true_words += len(words)
        said = [text.split() for text in negatives]
        self.negative_words += sum(map(len, said)) / len(said)
        for word in set(words):
            self.in_true[word] += len(negatives)
        for each in said:
            self.in_negatives.update(set(each))

    def add(self, other: Tally) -> None:
        """Adds the counts of other rows of the domain."""
        self.rows += other.rows
        self.captions.update(other.captions)
        self.negatives += other.negatives
        self.tokens += other.tokens
        self.most_tokens = max(self.most_tokens, other.most_tokens)
        self.flaws.update(other.flaws)
        self.rows_with.update(other.rows_with)
        self.number_of.update(other.number_of)
        self.size.update(other.size)
        for category, types in other.having.items():
            self.having.setdefault(category, Counter()).update(types)
        self.rows_with_negatives += other.rows_with_negatives
        self.longest_is_true += other.longest_is_true
        self.true_words += other.true_words
        self.negative_words += other.negative_words
        self.in_true.update(other.in_true)
        self.in_negatives.update(other.in_negatives)


def caption_key(caption: str) -> int:
    """A number for a caption: so a set of a million takes 60 MB, and is the same in every process."""
    return int.from_bytes(
        hashlib.blake2b(caption.encode("utf-8", "replace"), digest_size=8).digest()
    )


def true_captions(captions: Collection[str]) -> set[int]:
    """The keys of captions in the form in which two are equal."""
    return {caption_key(plain(caption)) for caption in captions}


def _is_longest(caption: str, negatives: Sequence[str]) -> float:
    longest = max(map(len, negatives))
    if len(caption) < longest:
        return 0.0
    return 1 / (1 + sum(len(text) == len(caption) for text in negatives))
