"""The categories and attribute values of a domain, and the odds with which negatives are drawn from them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from fdrd.negatives.category import Category, make_categories
from fdrd.negatives.context import Descriptions, around
from fdrd.negatives.edits import Edits, make_edits
from fdrd.negatives.odds import Odds, make_odds
from fdrd.record import Record
from fdrd.text.mentions import find_mentions, key


@dataclass(frozen=True, slots=True)
class Catalog:
    """The C categories of one domain, sorted by name, and how its captions describe them."""

    categories: tuple[Category, ...]
    place: Mapping[str, int] = field(repr=False)
    """index of each name in `categories`"""
    place_of_key: Mapping[str, int] = field(repr=False)
    """index of each normalized spelling, including plurals"""
    odds: Odds = field(repr=False)
    """of category swaps"""
    edits: Edits = field(repr=False)
    """attribute swaps and their odds"""
    digest: str
    """changes with anything that a draw depends on"""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the categories, sorted."""
        return tuple(category.name for category in self.categories)


def make_catalog(records: Iterable[Record], *, names: Iterable[str] = ()) -> Catalog:
    """Return the catalog of the records of one domain.

    Args:
        records: in any order; only caption, category and attributes are used.
        names: additional categories.

    >>> make_catalog([], names=["pug", "boxer"]).names
    ('boxer', 'pug')
    """
    ordered = sorted(records, key=lambda record: (record.category, record.caption))
    of_category: dict[str, list[Record]] = {
        name: [] for name in sorted({*names, *(record.category for record in ordered)} - {""})
    }
    for record in ordered:
        if record.category:
            of_category[record.category].append(record)
    with ThreadPoolExecutor(1) as thread:  # NumPy fits the odds of edits outside of the lock
        making = thread.submit(make_edits, ordered)
        categories = make_categories(of_category)
        descriptions = Descriptions(
            (place, around(record.caption, mentions))
            for place, category in enumerate(categories)
            for record in of_category[category.name]
            if (mentions := find_mentions(record.caption, category.pattern))
        )
        odds = make_odds([sorted(category.same) for category in categories], descriptions)
        edits = making.result()
    places = {key(category.plural): place for place, category in enumerate(categories)}
    places |= {key(category.name): place for place, category in enumerate(categories)}
    return Catalog(
        categories=categories,
        place={category.name: place for place, category in enumerate(categories)},
        place_of_key=places,
        odds=odds,
        edits=edits,
        digest=_digest(categories, odds, edits),
    )


def _digest(categories: Sequence[Category], odds: Odds, edits: Edits) -> str:
    names = [
        [(c.name, c.spellings, c.frequency, c.countable) for c in categories],
        list(odds.context.row),
        edits.values,
        list(edits.context.row),
    ]
    digest = hashlib.sha256(repr(names).encode("utf-8", "backslashreplace"))
    for numbers in (odds.bias, *edits.gain):
        digest.update(numbers.tobytes())
    for context in (odds.context, edits.context):
        digest.update(context.table.tobytes())
    return digest.hexdigest()
