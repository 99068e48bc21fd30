"""What the drawing of negatives knows about a domain: its categories, and how its captions write them."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from fdrd.negatives.grammar import has_article, looks_plural, plural
from fdrd.negatives.mentions import find_mentions, key, mention_pattern, spoken
from fdrd.negatives.samplers import Floats, balanced, uniform, unbalanced
from fdrd.negatives.values import Values, count_values
from fdrd.record import Record

Sampler = Callable[[Sequence[str]], Floats]


@dataclass(frozen=True, slots=True)
class Category:
    """A category as captions write it.

    Attributes:
        name: as in `Record.category`.
        spellings: how the captions write it ("shiba inu", "Shiba Inu").
        frequency: running sum of how often each spelling occurs.
        plural: of the most frequent spelling.
        countable: whether "a" or "an" may stand before it; not so for "scissors".
        pattern: finds its mentions (`fdrd.negatives.mentions`).
        same: places in the catalogue of the names that are this one but for case, separators or number,
            itself included: none of them is wrong for its captions.
    """

    name: str
    spellings: tuple[str, ...]
    frequency: tuple[int, ...]
    plural: str
    countable: bool
    pattern: re.Pattern[str]
    same: frozenset[int]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The categories of one domain, sorted by name, and what its captions say of them.

    Attributes:
        categories: the C categories.
        place: index of each name in `categories`.
        place_of_key: index of each normalised spelling, plurals included.
        odds: (C, C); running sums along row i are the odds of a negative for captions of category i.
        values: the attribute values of the captions, with their neighbours.
        digest: changes with anything that a draw depends on.
    """

    categories: tuple[Category, ...]
    place: Mapping[str, int]
    place_of_key: Mapping[str, int] = field(repr=False)
    odds: Floats = field(repr=False)
    values: Values = field(repr=False)
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
    balance: bool = True,
) -> Catalogue:
    """The catalogue of the records of one domain.

    Args:
        records: read once; only caption, category and attributes count, in any order.
        names: further categories that no record may have.
        sampler: weights (C, C) for the sorted names (`fdrd.negatives.samplers`).
        balance: draw each category as often as it is the true one, so that its being common tells a
            blind reader nothing; without it the sampler's weights are the odds.
    """
    captions: dict[str, Counter[str]] = {name: Counter() for name in names}
    values = count_values()
    for record in records:
        captions.setdefault(record.category, Counter())[record.caption] += 1
        values.add(record)
    sorted_names = sorted(captions)
    categories = _categories(sorted_names, captions)
    weights = sampler(sorted_names)
    for place, category in enumerate(categories):
        weights[place, sorted(category.same)] = 0.0
    counts = [captions[name].total() for name in sorted_names]
    odds = balanced(weights, counts) if balance else unbalanced(weights)
    # Rounded, so that the last bit of another processor's arithmetic cannot change a draw.
    running = np.round(np.cumsum(odds / np.maximum(odds.sum(axis=1, keepdims=True), 1e-300), axis=1), 9)
    frozen = values.freeze()
    spelled = repr([(c.name, c.spellings, c.frequency, c.countable) for c in categories])
    digest = hashlib.sha256(spelled.encode("utf-8", "surrogatepass") + running.tobytes())
    digest.update(frozen.digest.encode())
    return Catalogue(
        categories=categories,
        place={category.name: place for place, category in enumerate(categories)},
        place_of_key=_places(categories),
        odds=running,
        values=frozen,
        digest=digest.hexdigest(),
    )


def _categories(names: Sequence[str], captions: Mapping[str, Counter[str]]) -> tuple[Category, ...]:
    keys = [key(name) for name in names]
    plurals = [key(plural(spoken(name))) for name in names]
    found = []
    for place, name in enumerate(names):
        longer = [
            other
            for other, other_key in zip(names, keys, strict=True)
            if keys[place] in other_key and len(other_key) > len(keys[place])
        ]
        pattern = mention_pattern(name, longer)
        written, with_article = _spellings(captions[name], pattern)
        spellings = tuple(sorted(written, key=lambda text: (-written[text], text)))
        spellings = spellings or (spoken(name) or name,)
        same = frozenset(
            other
            for other in range(len(names))
            if keys[other] == keys[place]
            or keys[other] == plurals[place]
            or plurals[other] == keys[place]
        )
        found.append(
            Category(
                name=name,
                spellings=spellings,
                frequency=tuple(accumulate(written[text] for text in spellings)) or (1,),
                plural=plural(spellings[0]),
                countable=with_article > 0 or not looks_plural(spoken(name)),
                pattern=pattern,
                same=same,
            )
        )
    return tuple(found)


def _spellings(captions: Counter[str], pattern: re.Pattern[str]) -> tuple[Counter[str], int]:
    """How the captions write the singular, and how often after an indefinite article."""
    written: Counter[str] = Counter()
    articles = 0
    for caption, times in captions.items():
        for mention in find_mentions(caption, pattern):
            if not mention.plural:
                written[caption[mention.start : mention.end]] += times
                articles += times * has_article(caption[: mention.start])
    return written, articles


def _places(categories: Sequence[Category]) -> dict[str, int]:
    places = {key(category.plural): place for place, category in enumerate(categories)}
    places.update({key(category.name): place for place, category in enumerate(categories)})
    return places
