"""Category swaps: every mention of the category, in full or short, is replaced by another category."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from fdrd.negatives.catalog import Catalog
from fdrd.negatives.category import Category
from fdrd.negatives.context import around
from fdrd.negatives.seeded_random import SeededRandom
from fdrd.negatives.short_names import ShortName
from fdrd.record import Negative, Record
from fdrd.text.grammar import has_article, plural, with_article
from fdrd.text.mentions import Mention, find_mentions, key, spoken

_WORD = re.compile(r"[^\W_]{3,}")
_SENTENCE_END = (".", "!", "?", ":", "\n")


class _Named(NamedTuple):
    """A caption that names its category: index of the category, mentions in order, and which are short names."""

    caption: str
    place: int
    mentions: list[Mention]
    short: dict[Mention, ShortName]
    left: frozenset[str]
    """words of the name that the caption has elsewhere, too: "sedan" in "a black sedan, an Acura TL Sedan" """


def category_swaps(
    records: Sequence[Record], catalog: Catalog, k: Sequence[int], randoms: Sequence[SeededRandom]
) -> list[Iterator[Negative]]:
    """Return iterators over the negatives of N records, each with another category, until the catalog is exhausted.

    There are none if the caption does not name its category, or names it within a quotation or a word ("web-like").

    Args:
        records: N records.
        catalog: catalog of their domain.
        k: (N,) number of negatives that the odds are balanced for.
        randoms: (N,) one for each record.
    """
    named = [_named(record, catalog) for record in records]
    drawn = [
        (each, number, random)
        for each, number, random in zip(named, k, randoms, strict=True)
        if each
    ]
    orders = iter(
        catalog.odds.orders(
            [each.place for each, _, _ in drawn],
            [around(each.caption, each.mentions) for each, _, _ in drawn],
            [number for _, number, _ in drawn],
            [random for _, _, random in drawn],
        )
    )
    return [
        _swaps(each, catalog, next(orders), random) if each else iter(())
        for each, random in zip(named, randoms, strict=True)
    ]


def _named(record: Record, catalog: Catalog) -> _Named | None:
    place = catalog.place.get(record.category)
    if place is None:
        return None
    mentions = find_mentions(record.caption, catalog.categories[place].pattern)
    if not mentions:
        return None
    short = catalog.categories[place].short.find(record, mentions)
    mentions = sorted([*mentions, *short], key=lambda mention: mention.start)
    taken = [(span.start, span.end) for span in record.attributes]
    quoted = [(span.start, span.end) for span in record.attributes if span.type == "text"]
    for mention in mentions:
        if (
            _overlaps(mention.start, mention.end, quoted)
            or record.caption[mention.end : mention.end + 1] == "-"
        ):
            return None
        taken.append((mention.start, mention.end))
    return _Named(record.caption, place, mentions, short, _left(record, taken))


def _left(record: Record, taken: list[tuple[int, int]]) -> frozenset[str]:
    """Return the words of a proper name outside these parts of the caption; "side" may mean no car side."""
    name = {word.lower() for word in spoken(record.category).split() if not word.islower()}
    return frozenset(
        word[0].lower()
        for word in _WORD.finditer(record.caption)
        if word[0].lower() in name and not _overlaps(word.start(), word.end(), taken)
    )


def _overlaps(start: int, end: int, parts: list[tuple[int, int]]) -> bool:
    return any(start < last and first < end for first, last in parts)


def _swaps(
    named: _Named, catalog: Catalog, order: Iterator[int], random: SeededRandom
) -> Iterator[Negative]:
    """Yield the caption with other categories, in this order."""
    gaps = _gaps(named.caption, named.mentions)
    needs_article = any(
        not mention.plural and has_article(named.caption[: mention.start])
        for mention in named.mentions
    )
    rest = named.caption[named.mentions[-1].end :]
    for other in order:
        category = catalog.categories[other]
        spelling = category.spellings[random.weighted(category.frequency)]
        if needs_article and not category.countable:
            continue
        if not named.left.issubset(key(category.name).split()):
            continue
        names = [
            _name(category, spelling, mention.plural, named.short.get(mention), random)
            for mention in named.mentions
        ]
        if not _doubled(gaps, names, rest):
            yield Negative(_joined(gaps, names) + rest, category.name, "category")


def _name(
    category: Category, spelling: str, plural_: bool, short: ShortName | None, random: SeededRandom
) -> str:
    """Return the text for one mention: a short name for a short name, if the category has one."""
    text = category.short.draw_like(short, random) if short else None
    if plural_:
        return plural(text) if text else category.plural
    return text or spelling


def _doubled(gaps: list[_Gap], names: list[str], rest: str) -> bool:
    """Check if a name repeats the word before or after it: "an Acura Acura", "an SUV SUV"."""
    texts = [text for gap, name in zip(gaps, names, strict=True) for text in (gap.text, name)]
    words = [found for text in [*texts, rest] if (found := text.split())]
    return any(_alike(one[-1:], other[:1]) or _alike(one, other) for one, other in pairwise(words))


def _alike(one: list[str], other: list[str]) -> bool:
    return key(" ".join(one)).strip(",.;:!?") == key(" ".join(other)).strip(",.;:!?")


class _Gap(NamedTuple):
    """The text before a mention, whether it ends with an article, and whether the mention has a capital."""

    text: str
    article: bool
    capital: bool


def _gaps(caption: str, mentions: list[Mention]) -> list[_Gap]:
    """Return the text before each mention, without earlier ones."""
    gaps, end = [], 0
    for mention in mentions:
        before = caption[end : mention.start]
        starts_sentence = not before.strip() if not end else before.rstrip().endswith(_SENTENCE_END)
        capital = starts_sentence and caption[mention.start].isupper()
        gaps.append(_Gap(before, not mention.plural and has_article(before), capital))
        end = mention.end
    return gaps


def _joined(gaps: list[_Gap], names: list[str]) -> str:
    """Return gaps and names in turn, with articles and capitals adjusted."""
    parts = []
    for gap, name in zip(gaps, names, strict=True):
        if gap.capital:
            name = name[:1].upper() + name[1:]
        parts += [with_article(gap.text, name) if gap.article else gap.text, name]
    return "".join(parts)
