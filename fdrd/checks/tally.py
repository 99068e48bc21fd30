"""Counts of records for card and audit. They add up, so shards can be counted in parallel."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field, fields
from itertools import chain

import numpy as np

from fdrd.checks.flaws import caption_flaws, flawed_negatives
from fdrd.negatives.given import plain
from fdrd.record import Negative, Record
from fdrd.text.attributes import find_attributes
from fdrd.text.normalize import text_key
from fdrd.text.tokens import estimate_clip_tokens

# Function words that are frequent in English and rare in other languages.
_ENGLISH = re.compile(r"\b(?:the|with|of|and|is|has|on|this|its)\b", re.IGNORECASE)


@dataclass(slots=True)
class Tally:
    """Counts of some rows of one domain."""

    domain: str
    rows: int = 0
    captions: array[int] = field(default_factory=lambda: array("Q"))
    """`text_key` of the caption of each row"""
    english: int = 0  # rows whose caption has an English function word
    described: int = 0  # rows with at least one attribute
    tokens: int = 0  # sum of the estimated CLIP tokens of all captions
    most_tokens: int = 0
    flaws: Counter[str] = field(default_factory=Counter)  # rows by flaw of the caption
    rows_with: Counter[str] = field(default_factory=Counter)  # rows by flaw of a negative
    negative_flaws: Counter[str] = field(default_factory=Counter)  # negatives by flaw
    size: Counter[str] = field(default_factory=Counter)  # rows by category
    having: Counter[tuple[str, str]] = field(default_factory=Counter)
    """rows by category and attribute type"""
    words: Counter[int] = field(default_factory=Counter)  # rows by number of words of the caption
    attributes: Counter[str] = field(default_factory=Counter)  # attribute spans by type
    negatives: Counter[str] = field(default_factory=Counter)
    """negatives by kind, e.g. `attribute: color`"""
    partners: Counter[tuple[str, str]] = field(default_factory=Counter)
    """partners in natural pairs by split and kind"""
    licenses: Counter[str] = field(default_factory=Counter)  # rows by license
    rows_with_negatives: int = 0
    longest: Counter[int] = field(default_factory=Counter)
    """rows whose true caption is the longest candidate, by the number of candidates of that length"""
    true_words: int = 0  # words of the captions of rows with negatives
    negative_lengths: Counter[int] = field(default_factory=Counter)
    """words of negatives, by the number of negatives of the row"""
    in_true: Counter[str] = field(default_factory=Counter)
    """captions that have a word, each weighted by its number of negatives"""
    in_negatives: Counter[str] = field(default_factory=Counter)  # negatives that have a word

    def count(self, record: Record, true: KeySet) -> None:
        """Count one row. `true` has the `text_key` of every normalized caption of the domain."""
        caption, category = record.caption, record.category
        self.rows += 1
        self.captions.append(text_key(caption))
        self.english += _ENGLISH.search(caption) is not None
        self.described += bool(record.attributes)
        tokens = estimate_clip_tokens(caption)
        self.tokens += tokens
        self.most_tokens = max(self.most_tokens, tokens)
        self.flaws.update(caption_flaws(caption, category))
        flawed = flawed_negatives(record, lambda text: text_key(text) in true)
        if flaws := [flaw for flaw, _ in flawed]:
            self.negative_flaws.update(flaws)
            self.rows_with.update(set(flaws))
        self.size[category] += 1
        attributes = record.attributes or find_attributes(caption, category)
        self.having.update({(category, attribute.type) for attribute in attributes})
        self.words[len(caption.split())] += 1
        self.attributes.update(attribute.type for attribute in record.attributes)
        self.negatives.update(map(_swap, record.negatives))
        self.partners.update((record.split, pair.kind) for pair in record.natural_pairs)
        self.licenses[record.source.license] += 1
        if record.negatives:
            self._compare(caption, [negative.caption for negative in record.negatives])

    def _compare(self, caption: str, negatives: Sequence[str]) -> None:
        self.rows_with_negatives += 1
        lengths = [len(caption), *map(len, negatives)]
        if len(caption) == max(lengths):
            self.longest[lengths.count(len(caption))] += 1
        words = caption.split()
        self.true_words += len(words)
        split = [text.split() for text in negatives]
        self.negative_lengths[len(split)] += sum(map(len, split))
        for word in set(words):
            self.in_true[word] += len(negatives)
        self.in_negatives.update(chain.from_iterable(map(set, split)))

    @property
    def longest_is_true(self) -> float:
        """Rows whose longest candidate is the true caption; ties count in part."""
        return sum(rows / size for size, rows in sorted(self.longest.items()))

    @property
    def negative_words(self) -> float:
        """Sum over rows of the mean number of words of their negatives."""
        return sum(words / size for size, words in sorted(self.negative_lengths.items()))

    def add(self, other: Tally) -> None:
        """Add the counts of other rows of the domain."""
        most = max(self.most_tokens, other.most_tokens)
        for each in fields(self)[1:]:
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, Counter):
                mine.update(theirs)
            elif isinstance(mine, array):
                mine.extend(theirs)
            else:
                setattr(self, each.name, mine + theirs)
        self.most_tokens = most


def _swap(negative: Negative) -> str:
    is_named = negative.kind == "attribute" and negative.attribute_type
    return f"attribute: {negative.attribute_type}" if is_named else negative.kind


class KeySet:
    """A set of 64-bit keys in sorted order: eight bytes per key."""

    def __init__(self, keys: Iterable[int]):
        self._keys = array("Q", np.unique(np.fromiter(keys, np.uint64)).tobytes())

    def __contains__(self, key: int) -> bool:
        index = bisect_left(self._keys, key)
        return index < len(self._keys) and self._keys[index] == key


def true_texts(record: Record, keys: KeySet) -> Container[str]:
    """Return the true texts of the image of a record, normalized by `plain`.

    `keys` are those of images that have more than one: `image_key` of the image XOR `text_key` of the text.
    """
    caption, image = plain(record.caption), image_key(record.source.sha256)
    return _TextsOfImage(image, keys) if text_key(caption) ^ image in keys else {caption}


@dataclass(frozen=True, slots=True)
class _TextsOfImage:
    image: int
    keys: KeySet

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and text_key(text) ^ self.image in self.keys


def image_key(sha256: str) -> int:
    """Return the leading 64 bits of the digest of an image."""
    return int(sha256[:16], 16)


def true_captions(captions: Iterable[str]) -> KeySet:
    """Return the keys of normalized captions."""
    return KeySet(true_key(caption) for caption in captions)


def true_key(caption: str) -> int:
    """Return the key of a normalized caption."""
    return text_key(plain(caption))
