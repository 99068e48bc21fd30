"""Category swaps: the caption with every mention of its category replaced by another category."""

from __future__ import annotations

from collections.abc import Iterator

from fdrd.negatives.catalogue import Catalogue, Category
from fdrd.negatives.draws import Draws
from fdrd.negatives.grammar import has_article, with_article
from fdrd.negatives.mentions import Mention, find_mentions
from fdrd.record import Negative, Record

_SENTENCE_END = (".", "!", "?", ":", "\n")
_REJECTIONS = 64


def category_swaps(record: Record, catalogue: Catalogue, draws: Draws) -> Iterator[Negative]:
    """Category negatives of a record, each of another category, until the catalogue has no more.

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
    for other in _places(catalogue, place, draws):
        category = catalogue.categories[other]
        spelling = category.spellings[draws.weighted(category.frequency)]
        if with_a and not category.countable:
            continue
        yield Negative(swap(record.caption, mentions, category, spelling), category.name, "category")


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


def _places(catalogue: Catalogue, own: int, draws: Draws) -> Iterator[int]:
    """Places of other categories, drawn by their odds without replacement."""
    row = catalogue.odds[own]
    drawn = set(catalogue.categories[own].same)
    possible = row[-1] > 0
    for _ in range(_REJECTIONS):
        if not possible or len(drawn) == len(row):
            return
        place = int(row.searchsorted(draws.uniform() * row[-1], side="right"))
        if place < len(row) and place not in drawn:
            drawn.add(place)
            yield place
    # Few are left, or they are rare: take the rest in an order of their own.
    rest = [
        place
        for place in range(len(row))
        if place not in drawn and row[place] > (row[place - 1] if place else 0)
    ]
    while rest:
        yield rest.pop(draws.index(len(rest)))
