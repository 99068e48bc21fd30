"""Category swaps: every mention of the category, in full or short, is replaced by another category."""

from __future__ import annotations

from collections.abc import Iterator

from fdrd.negatives.catalog import Catalog
from fdrd.negatives.category import Category
from fdrd.negatives.context import around
from fdrd.negatives.seeded_random import SeededRandom
from fdrd.negatives.short_names import ShortName
from fdrd.record import Negative, Record
from fdrd.text.grammar import has_article, plural, with_article
from fdrd.text.mentions import Mention, find_mentions

_SENTENCE_END = (".", "!", "?", ":", "\n")


def category_swaps(
    record: Record, catalog: Catalog, k: int, random: SeededRandom
) -> Iterator[Negative]:
    """Yield negatives of a record, each with another category, until the catalog is exhausted.

    The odds are balanced for `k` negatives. There are none if the caption does not name its category.
    """
    place = catalog.place.get(record.category)
    if place is None:
        return
    mentions = find_mentions(record.caption, catalog.categories[place].pattern)
    if not mentions:
        return
    short = catalog.categories[place].short.find(record, mentions)
    mentions = sorted([*mentions, *short], key=lambda mention: mention.start)
    needs_article = any(
        not mention.plural and has_article(record.caption[: mention.start]) for mention in mentions
    )
    words = around(record.caption, mentions)
    for other in catalog.odds.order(place, words, k, random):
        category = catalog.categories[other]
        spelling = category.spellings[random.weighted(category.frequency)]
        if needs_article and not category.countable:
            continue
        names = [_name(category, spelling, m.plural, short.get(m), random) for m in mentions]
        caption = _swap(record.caption, mentions, names)
        yield Negative(caption, category.name, "category")


def _name(
    category: Category, spelling: str, plural_: bool, short: ShortName | None, random: SeededRandom
) -> str:
    """Return the text for one mention: a short name for a short name, if the category has one."""
    text = category.short.draw_like(short, random) if short else None
    if plural_:
        return plural(text) if text else category.plural
    return text or spelling


def _swap(caption: str, mentions: list[Mention], names: list[str]) -> str:
    """Replace all mentions and adjust articles and capitals."""
    parts, end = [], 0
    for mention, name in zip(mentions, names, strict=True):
        before = caption[end : mention.start]
        starts_sentence = not before.strip() if not end else before.rstrip().endswith(_SENTENCE_END)
        if starts_sentence and caption[mention.start].isupper():
            name = name[:1].upper() + name[1:]
        parts += [before if mention.plural else with_article(before, name), name]
        end = mention.end
    return "".join(parts) + caption[end:]
