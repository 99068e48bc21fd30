"""A category as the captions of a domain write it: spellings, plural, and article."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from fdrd.negatives.related import related_by_name
from fdrd.negatives.short_names import ShortNames, find_short_names
from fdrd.record import Record, TaggedCaption
from fdrd.text.grammar import has_article, looks_plural, plural
from fdrd.text.mentions import (
    MentionPattern,
    find_mentions,
    key,
    longer_names,
    mention_pattern,
    spoken,
)


@dataclass(frozen=True, slots=True)
class Category:
    """A category of a domain."""

    name: str
    """as in `Record.category`"""
    spellings: tuple[str, ...]
    """as written in captions ("shiba inu", "Shiba Inu"), the most frequent first"""
    frequency: tuple[int, ...]
    """cumulative counts of the spellings"""
    plural: str
    """of the most frequent spelling"""
    countable: bool
    """can follow "a" or "an", unlike "scissors" """
    pattern: MentionPattern
    short: ShortNames
    """parts of the name that captions use alone"""
    same: frozenset[int]
    """indices of categories that may be true of its images (`fdrd.negatives.related`): this one, names that differ
    only in case, separators or number, and related ones"""


def make_categories(
    records: Mapping[str, Sequence[Record | TaggedCaption]],
) -> tuple[Category, ...]:
    """Return the categories in the order of the mapping from name to records."""
    names = list(records)
    keys = [key(name) for name in names]
    plurals = [key(plural(spoken(name))) for name in names]
    # The pattern tries longer names first, so that "A380" is not found in "A380-800".
    patterns = list(map(mention_pattern, names, longer_names(names)))
    short = find_short_names(records, patterns)
    with_key, with_plural = _places(keys), _places(plurals)
    related = related_by_name(records)
    found = []
    for place, (name, pattern) in enumerate(zip(names, patterns, strict=True)):
        own, own_plural = keys[place], plurals[place]
        written, with_article = _spellings(records[name], pattern)
        spellings = tuple(sorted(written, key=lambda text: (-written[text], text)))
        spellings = spellings or (spoken(name) or name,)
        same = {*with_key[own], *with_plural[own], *with_key[own_plural], *related[place]}
        found.append(
            Category(
                name=name,
                spellings=spellings,
                frequency=tuple(accumulate(written[text] for text in spellings if written)) or (1,),
                plural=plural(spellings[0]),
                countable=with_article > 0 or not looks_plural(spoken(name)),
                pattern=pattern,
                short=short[place],
                same=frozenset(same),
            )
        )
    return tuple(found)


def _places(texts: Sequence[str]) -> Mapping[str, list[int]]:
    """Return the indices of each text."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, text in enumerate(texts):
        places[text].append(place)
    return places


def _spellings(
    records: Sequence[Record | TaggedCaption], pattern: MentionPattern
) -> tuple[Counter[str], int]:
    """Count the spellings of the singular, and how many follow an indefinite article."""
    written: Counter[str] = Counter()
    articles = 0
    for record in records:
        for mention in find_mentions(record.caption, pattern):
            if not mention.plural:
                written[record.caption[mention.start : mention.end]] += 1
                articles += has_article(record.caption[: mention.start])
    return written, articles
