"""What the drawing of negatives knows about a domain: its categories, its values, and their odds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fdrd.negatives.category import Category, make_categories
from fdrd.negatives.context import Descriptions, around
from fdrd.negatives.edits import Edits, make_edits
from fdrd.negatives.odds import Odds, make_odds
from fdrd.negatives.samplers import Sampler, uniform
from fdrd.record import Record
from fdrd.text.mentions import find_mentions, key


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The categories of one domain, sorted by name, and what its captions say of them.

    Attributes:
        categories: the C categories.
        place: index of each name in `categories`.
        place_of_key: index of each normalised spelling, plurals included.
        odds: with which each category is drawn for a caption.
        edits: what makes an attribute wrong, and how likely.
        digest: changes with anything that a draw depends on.
    """

    categories: tuple[Category, ...]
    place: Mapping[str, int] = field(repr=False)
    place_of_key: Mapping[str, int] = field(repr=False)
    odds: Odds = field(repr=False)
    edits: Edits = field(repr=False)
    digest: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the categories, sorted."""
        return tuple(category.name for category in self.categories)


def make_catalogue(
    records: Iterable[Record],
    *,
    names: Iterable[str] = (),
    sampler: Sampler = uniform,
    in_context: bool = True,
    balance: bool = True,
) -> Catalogue:
    """The catalogue of the records of one domain.

    Args:
        records: only caption, category and attributes count, in any order.
        names: further categories that no record may have.
        sampler: how near two categories are (`fdrd.negatives.samplers`).
        in_context: draw more often what the other words of the caption speak for.
        balance: draw each category and each value as often as it is the true one.

    >>> make_catalogue([], names=["pug", "boxer"]).names
    ('boxer', 'pug')
    """
    ordered = sorted(records, key=lambda record: (record.category, record.caption))
    of_category: dict[str, list[Record]] = {
        name: [] for name in sorted({*names, *(record.category for record in ordered)})
    }
    for record in ordered:
        of_category[record.category].append(record)
    categories = make_categories(of_category)
    named = Descriptions(
        (place, around(record.caption, mentions))
        for place, category in enumerate(categories)
        for record in of_category[category.name]
        if (mentions := find_mentions(record.caption, category.pattern))
    )
    weights = sampler(list(of_category))
    for place, category in enumerate(categories):
        weights[place, sorted(category.same)] = 0.0
    odds = make_odds(weights, named, in_context=in_context, balance=balance)
    edits = make_edits(ordered, in_context=in_context, balance=balance)
    places = {key(category.plural): place for place, category in enumerate(categories)}
    places |= {key(category.name): place for place, category in enumerate(categories)}
    return Catalogue(
        categories=categories,
        place={category.name: place for place, category in enumerate(categories)},
        place_of_key=places,
        odds=odds,
        edits=edits,
        digest=_digest(categories, odds, edits),
    )


def _digest(categories: Sequence[Category], odds: Odds, edits: Edits) -> str:
    spelled = [(c.name, c.spellings, c.frequency, c.countable, c.predicates) for c in categories]
    digest = hashlib.sha256(repr(spelled).encode("utf-8", "backslashreplace"))
    odds.feed(digest.update)
    edits.feed(digest.update)
    return digest.hexdigest()
