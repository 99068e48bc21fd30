"""Category swaps: every mention of the category is replaced by another category."""

from __future__ import annotations

from collections.abc import Iterator

from fdrd.negatives.catalog import Catalog
from fdrd.negatives.category import Category
from fdrd.negatives.context import around
from fdrd.negatives.seeded_random import SeededRandom
from fdrd.record import Negative, Record
from fdrd.text.grammar import has_article, with_article
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
    needs_article = any(
        not mention.plural and has_article(record.caption[: mention.start]) for mention in mentions
    )
    words = around(record.caption, mentions)
    for other in catalog.odds.order(place, words, k, random):
        category = catalog.categories[other]
        spelling = category.spellings[random.weighted(category.frequency)]
        if needs_article and not category.countable:
            continue
        caption = _swap(record.caption, mentions, category, spelling)
        yield Negative(caption, category.name, "category")


def _swap(caption: str, mentions: list[Mention], category: Category, spelling: str) -> str:
    """Replace all mentions and adjust articles, plurals and capitals."""
    parts, end = [], 0
    for mention in mentions:
        name = category.plural if mention.plural else spelling
        before = caption[end : mention.start]
        starts_sentence = not before.strip() if not end else before.rstrip().endswith(_SENTENCE_END)
        if starts_sentence and caption[mention.start].isupper():
            name = name[:1].upper() + name[1:]
        parts += [before if mention.plural else with_article(before, name), name]
        end = mention.end
    return "".join(parts) + caption[end:]
