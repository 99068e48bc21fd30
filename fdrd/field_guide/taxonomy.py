"""The categories: which exist, what each looks like, and what it is called.

A *genus* is a combination of values of its meta-category's genus traits. Its *species* are the fine
categories. The first species of a genus is drawn at random; each further one differs from it in
exactly one species trait. So two species of a genus differ in one or two traits, and species of
different genera in at least one genus trait. A category is the same in every dataset, whatever
the seed, and the pools share no category.

The individuals of a category share the shapes of its genus and the traits in which its species
differ. They vary in their main color and in the other species traits of the genus. So a caption that
names a category does not say what else it may claim about an image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import gcd
from typing import Literal

from fdrd.errors import FdrdError
from fdrd.field_guide.chance import Chance
from fdrd.field_guide.meta_categories import meta_categories
from fdrd.field_guide.naming import epithets, genus_noun
from fdrd.field_guide.traits import MetaCategory, Signature

Pool = Literal["demo", "base"]
POOLS: tuple[Pool, ...] = ("demo", "base")

SPECIES = 6
"""Species per genus."""


@dataclass(frozen=True, slots=True)
class Category:
    """A fine category.

    Attributes:
        signature: the usual value of each genus and species trait.
        varying: names of the traits of the signature in which individuals vary.
    """

    index: int
    pool: Pool
    name: str
    kind: MetaCategory
    genus: int
    signature: Signature
    varying: frozenset[str]


def categories(count: int, pool: Pool = "demo", first: int = 0) -> list[Category]:
    """Return the categories `first` to `first + count - 1` of a pool.

    Meta-categories alternate, and each fills one genus before the next. So a slice of any length
    holds all meta-categories, and similar categories within each.

    Raises:
        FdrdError: the pool has fewer categories.
    """
    everything = _pool(pool)
    if not 0 <= first < first + count <= len(everything):
        raise FdrdError(
            f"the {pool} pool has {len(everything)} categories, not the requested "
            f"{first} to {first + count - 1}; ask for at least one, and fewer"
        )
    return list(everything[first : first + count])


def available(pool: Pool = "demo") -> int:
    """Return the number of categories in a pool."""
    return len(_pool(pool))


@cache
def _pool(pool: Pool) -> tuple[Category, ...]:
    if pool not in POOLS:
        raise FdrdError(f"unknown pool {pool!r}; choose from {', '.join(POOLS)}")
    queues = [_of_kind(kind, pool) for kind in meta_categories()]
    found: list[Category] = []
    while queues:
        for queue in list(queues):
            described = next(queue, None)
            if described is None:
                queues.remove(queue)
            else:
                kind, genus, name, signature, varying = described
                found.append(Category(len(found), pool, name, kind, genus, signature, varying))
    return tuple(found)


def _of_kind(
    kind: MetaCategory, pool: Pool
) -> Iterator[tuple[MetaCategory, int, str, Signature, frozenset[str]]]:
    traits = kind.at("genus")
    keys = list(product(*([value.key for value in trait.values] for trait in traits)))
    # A stride near the golden section scatters neighbors, so that the first genera differ widely.
    stride = next(s for s in range(len(keys) * 5 // 8, len(keys)) if gcd(s, len(keys)) == 1)
    start = Chance("first genus", kind.name).below(len(keys))
    first_noun = Chance("first noun", kind.name).below(200)
    for genus in range(POOLS.index(pool), len(keys), len(POOLS)):
        shared = dict(
            zip(
                (trait.name for trait in traits),
                keys[(start + genus * stride) % len(keys)],
                strict=True,
            )
        )
        chance = Chance("genus", kind.name, genus)
        noun = genus_noun(kind.endings, first_noun + genus)
        species, varying = _species(kind, shared, chance)
        for epithet, signature in zip(epithets(len(species), chance), species, strict=True):
            yield kind, genus, f"{epithet} {noun}", signature, varying


def _species(
    kind: MetaCategory, shared: Signature, chance: Chance
) -> tuple[list[Signature], frozenset[str]]:
    """Return the signatures of the species of a genus, and the traits in which individuals vary."""
    traits = kind.at("species")
    while True:
        varying = {trait.name for trait in chance.shuffled(traits)[: len(traits) // 2]}
        first = {**shared, **{trait.name: chance.pick(trait.values).key for trait in traits}}
        if not kind.sensible(first):
            continue
        changes = [
            changed
            for trait in traits
            for value in trait.values
            if trait.name not in varying
            and value.key != first[trait.name]
            and kind.sensible(changed := {**first, trait.name: value.key})
        ]
        if len(changes) >= SPECIES - 1:
            species: list[Signature] = [first, *chance.shuffled(changes)[: SPECIES - 1]]
            return species, frozenset({*varying, "color"})
