"""The categories and attribute values of a domain, and the odds with which negatives are drawn from them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from fdrd.engines import Engine
from fdrd.files.struct_table import StructTable
from fdrd.negatives.category import Category, make_categories
from fdrd.negatives.context import Descriptions, around
from fdrd.negatives.edits import Edits, make_edits
from fdrd.negatives.odds import Odds, make_odds
from fdrd.negatives.related import related_by_words
from fdrd.record import Record, TaggedCaption
from fdrd.text.mentions import NameIndex, find_mentions, key

_IN_MEMORY = 20_000  # captions; more are read again in each pass over them


@dataclass(frozen=True, slots=True)
class Catalog:
    """The C categories of one domain, sorted by name, and how its captions describe them."""

    categories: tuple[Category, ...]
    place: Mapping[str, int] = field(repr=False)
    """index of each name in `categories`"""
    place_of_key: Mapping[str, int] = field(repr=False)
    """index of each normalized spelling, including plurals"""
    index: NameIndex = field(repr=False)
    """finds the categories that a caption may name"""
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


def make_catalog(records: Sequence[Record], *, names: Iterable[str] = ()) -> Catalog:
    """Return the catalog of the records of one domain.

    Args:
        records: records in any order; only caption, category and attributes are used.
        names: additional categories.

    >>> make_catalog([], names=["pug", "boxer"]).names
    ('boxer', 'pug')
    """
    ordered = sorted(records, key=lambda record: (record.category, record.caption))
    return _catalog(*_make_names(ordered, names), make_edits(ordered))


def catalogs_by_domain(
    captions: Mapping[str, StructTable[TaggedCaption]], engine: Engine
) -> dict[str, Catalog]:
    """Return the catalogs of several domains. A worker makes the edits while this process does the rest.

    Args:
        captions: by domain, its captions sorted by category and text.
        engine: has the worker.
    """
    with ThreadPoolExecutor(1) as thread:
        making = thread.submit(lambda: list(engine.run(_edits_of, captions.values())))
        named = [_make_names(_held(ordered)) for ordered in captions.values()]
        found = zip(captions, named, making.result(), strict=True)
        return {domain: _catalog(*names, edits) for domain, names, edits in found}


def _edits_of(ordered: StructTable[TaggedCaption]) -> Edits:
    return make_edits(_held(ordered))


def _held(ordered: StructTable[TaggedCaption]) -> Sequence[TaggedCaption]:
    """Return the captions in memory, unless they are too many."""
    return list(ordered) if len(ordered) <= _IN_MEMORY else ordered


def _make_names(
    ordered: Sequence[Record | TaggedCaption], names: Iterable[str] = ()
) -> tuple[tuple[Category, ...], Odds]:
    sizes = Counter(record.category for record in ordered)
    of_category, end = {}, sizes[""]
    for name in sorted({*names, *sizes} - {""}):
        of_category[name] = ordered[end : end + sizes[name]]
        end += sizes[name]
    categories = make_categories(of_category)
    descriptions = Descriptions(
        (place, around(record.caption, (*mentions, *category.short.find(record, mentions))))
        for place, category in enumerate(categories)
        for record in of_category[category.name]
        if (mentions := find_mentions(record.caption, category.pattern))
    )
    related = related_by_words([set(each.same) for each in categories], descriptions)
    categories = tuple(
        replace(category, same=frozenset(others))
        for category, others in zip(categories, related, strict=True)
    )
    return categories, make_odds([sorted(others) for others in related], descriptions)


def _catalog(categories: tuple[Category, ...], odds: Odds, edits: Edits) -> Catalog:
    places = {key(category.plural): place for place, category in enumerate(categories)}
    places |= {key(category.name): place for place, category in enumerate(categories)}
    return Catalog(
        categories=categories,
        place={category.name: place for place, category in enumerate(categories)},
        place_of_key=places,
        index=NameIndex([(*each.pattern.plurals, each.name) for each in categories]),
        odds=odds,
        edits=edits,
        digest=_digest(categories, odds, edits),
    )


def _digest(categories: Sequence[Category], odds: Odds, edits: Edits) -> str:
    names = [
        [
            (
                c.name,
                c.spellings,
                c.frequency,
                c.countable,
                [*c.short.counts.items()],
                c.short.rare,
                sorted(c.same),
            )
            for c in categories
        ],
        list(odds.context.row),
        edits.values,
        list(edits.context.row),
    ]
    digest = hashlib.sha256(repr(names).encode("utf-8", "backslashreplace"))
    for numbers in (
        odds.bias, odds.kept, odds.size, edits.factor, edits.used, edits.mixed, edits.apart,
    ):  # fmt: skip
        digest.update(numbers.tobytes())
    for context in (odds.context, edits.context):
        digest.update(context.table.tobytes())
    return digest.hexdigest()
