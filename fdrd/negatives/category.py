"""A category as the captions of a domain write it: spellings, plural, article, and what they say of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from fdrd.record import Record
from fdrd.text.grammar import has_article, looks_plural, plural
from fdrd.text.mentions import MentionPattern, find_mentions, key, mention_pattern, spoken

_MOST_PREDICATES = 64  # for each category: a catalogue travels to every worker process


@dataclass(frozen=True, slots=True)
class Predicate:
    """What a caption says after the first mention of its category, with its (type, value) pairs."""

    text: str
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Category:
    """A category of a domain.

    Attributes:
        name: as in `Record.category`.
        spellings: how the captions write it ("shiba inu", "Shiba Inu").
        frequency: running sum of how often each spelling occurs.
        plural: of the most frequent spelling.
        countable: whether "a" or "an" may stand before it; not so for "scissors".
        pattern: finds its mentions (`fdrd.text.mentions`).
        same: places of the names that are this one but for case, separators or number, itself included:
            none of them is wrong for its captions.
        predicates: what some of its captions say of it.
    """

    name: str
    spellings: tuple[str, ...]
    frequency: tuple[int, ...]
    plural: str
    countable: bool
    pattern: MentionPattern
    same: frozenset[int]
    predicates: tuple[Predicate, ...] = field(repr=False)


def make_categories(records: Mapping[str, Sequence[Record]]) -> tuple[Category, ...]:
    """The categories whose records are given, in the order of the mapping."""
    names = list(records)
    keys = [key(name) for name in names]
    plurals = [key(plural(spoken(name))) for name in names]
    found = []
    for place, name in enumerate(names):
        own, own_plural = keys[place], plurals[place]
        # Only longer ones: the pattern tries them first, so that "A380" is not found in "A380-800".
        longer = [names[other] for other, text in enumerate(keys) if own in text and own != text]
        pattern = mention_pattern(name, longer)
        written, with_article = _spellings(records[name], pattern)
        spellings = tuple(sorted(written, key=lambda text: (-written[text], text)))
        spellings = spellings or (spoken(name) or name,)
        same = (
            other
            for other in range(len(names))
            if own in (keys[other], plurals[other]) or own_plural == keys[other]
        )
        found.append(
            Category(
                name=name,
                spellings=spellings,
                frequency=tuple(accumulate(written[text] for text in spellings if written)) or (1,),
                plural=plural(spellings[0]),
                countable=with_article > 0 or not looks_plural(spoken(name)),
                pattern=pattern,
                same=frozenset(same),
                predicates=_predicates(records[name], pattern),
            )
        )
    return tuple(found)


def _spellings(records: Sequence[Record], pattern: MentionPattern) -> tuple[Counter[str], int]:
    """How the captions write the singular, and how often after an indefinite article."""
    written: Counter[str] = Counter()
    articles = 0
    for record in records:
        for mention in find_mentions(record.caption, pattern):
            if not mention.plural:
                written[record.caption[mention.start : mention.end]] += 1
                articles += has_article(record.caption[: mention.start])
    return written, articles


def _predicates(records: Sequence[Record], pattern: MentionPattern) -> tuple[Predicate, ...]:
    found: dict[str, Predicate] = {}
    for record in records:
        mentions = find_mentions(record.caption, pattern)
        text = record.caption[mentions[0].end :] if mentions else ""
        if text.strip(" ."):
            start = mentions[0].end
            values = [(a.type, a.value.lower()) for a in record.attributes if a.start >= start]
            found[text] = Predicate(text, tuple(values))
    # The hash makes the choice a fair one that no order of the records changes.
    chosen = sorted(
        found, key=lambda text: hashlib.sha256(text.encode("utf-8", "replace")).digest()
    )
    return tuple(found[text] for text in chosen[:_MOST_PREDICATES])
