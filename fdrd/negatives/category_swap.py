"""Category swaps: the caption with every mention of its category replaced by another category."""

from __future__ import annotations

from collections.abc import Iterator

from fdrd.negatives.catalogue import Catalogue
from fdrd.negatives.category import Category
from fdrd.negatives.context import around
from fdrd.negatives.draws import Draws
from fdrd.record import Negative, Record
from fdrd.text.grammar import has_article, with_article
from fdrd.text.mentions import Mention, find_mentions

_SENTENCE_END = (".", "!", "?", ":", "\n")


def category_swaps(
    record: Record, catalogue: Catalogue, k: int, draws: Draws
) -> Iterator[Negative]:
    """Category negatives of a record, each of another category, until the catalogue has no more.

    `k` are wanted: the odds are balanced for so many.

    None at all where the caption does not name its category, or the catalogue does not hold it.
    """
    place = catalogue.place.get(record.category)
    if place is None:
        return
    own = catalogue.categories[place]
    mentions = find_mentions(record.caption, own.pattern)
    if not mentions:
        return
    with_a = any(
        not mention.plural and has_article(record.caption[: mention.start]) for mention in mentions
    )
    words = around(record.caption, mentions) if catalogue.odds.context else ()
    for other in catalogue.odds.order(place, words, k, draws):
        category = catalogue.categories[other]
        spelling = category.spellings[draws.weighted(category.frequency)]
        if with_a and not category.countable:
            continue
        yield Negative(
            swap(record.caption, mentions, category, spelling), category.name, "category"
        )


def swap(caption: str, mentions: list[Mention], category: Category, spelling: str) -> str:
    """The caption with all `mentions` replaced; articles, plurals and capitals follow.

    Args:
        caption: names its own category at `mentions`.
        mentions: from left to right.
        category: what the caption is to name.
        spelling: how to write its singular.
    """
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
