"""The categories: which exist, what each looks like, what it is called, and what one image shows of it.

A *genus* is a combination of values of its meta-category's genus traits. Its *species* are the fine
categories. The first species of a genus is drawn at random; each further one differs from it in
exactly one species trait. So two species of a genus differ in one or two traits, and species of
different genera in at least one genus trait. A category is the same in every dataset, whatever
the seed, and the pools share no category.

The individuals of a category share the shapes of its genus and the traits in which its species
differ. They vary in their main color and in the other species traits of the genus. So a caption that
names a category does not say what else it may claim about an image.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, product, zip_longest
from math import gcd
from typing import Literal

from fdrd.errors import FdrdError
from fdrd.field_guide.chance import Chance
from fdrd.field_guide.meta_categories import meta_categories
from fdrd.field_guide.traits import MetaCategory, Signature

# Names are invented: an epithet, and a noun that identifies meta-category and genus, as `warbler` does. They are drawn
# independently of the signature, so they do not say what a category looks like.
ONSETS = "T M K D B V L R N P G F H S J W Dr Tr Gr Br".split()
RIMES = "ar el in or ir an il en ol ev".split()
EPONYMS = """Marlow Fenn Hale Brandt Castor Dunmore Elgar Farrow Garland Hobart Irving Jarvis Kessler Lomax
Merrick Norwood Orton Pascoe Quayle Radley Selwyn Tennant Upton Varley Wexford Yates Zeller Abbott Bligh
Corbin Dalby Everard Fitch Gresham Hollis Inman Joyce Kemp Latimer Munro""".split()
EPITHETS = """Common Northern Southern Eastern Western Upland Lowland Coastal Island Alpine Royal Noble Quiet
Hidden Wandering Solitary False True Elder Lesser Greater Harbor Valley Autumn Winter Summer Sunday Pilgrim
Hermit Abbey""".split()


def genus_noun(endings: Sequence[str], genus: int) -> str:
    """Return the noun of a genus, unique for every number below 200 times the endings.

    >>> genus_noun(("rel", "wit"), 0), genus_noun(("rel", "wit"), 1)
    ('Tarrel', 'Melwit')
    """
    stem, ending = genus % 200, endings[(genus + genus // 200) % len(endings)]
    onset, rime = ONSETS[stem % 20], RIMES[(stem + stem // 20) % 10]
    return onset + rime + ending


Pool = Literal["demo", "base"]
POOLS: tuple[Pool, ...] = ("demo", "base")

SPECIES = 6  # species per genus


@dataclass(frozen=True, slots=True)
class Category:
    """A fine category."""

    index: int
    pool: Pool
    name: str
    kind: MetaCategory
    genus: int
    signature: Signature  # the usual value of each genus and species trait
    varying: frozenset[str]  # names of the traits of the signature in which individuals vary


def categories(count: int, pool: Pool = "demo", first: int = 0) -> list[Category]:
    """Return the categories `first` to `first + count - 1` of a pool.

    Meta-categories alternate, and each fills one genus before the next. So a slice of any length
    holds all meta-categories, and similar categories within each. Raise `FdrdError` if the pool has fewer.
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
    in_turn = chain.from_iterable(
        zip_longest(*(_of_kind(kind, pool) for kind in meta_categories()))
    )
    described = filter(None, in_turn)  # meta-categories have different numbers of genera
    return tuple(Category(index, pool, *values) for index, values in enumerate(described))


def _of_kind(
    kind: MetaCategory, pool: Pool
) -> Iterator[tuple[str, MetaCategory, int, Signature, frozenset[str]]]:
    """Yield the last five fields of each `Category` of a meta-category."""
    traits = kind.at("genus")
    names = [trait.name for trait in traits]
    keys = list(product(*([value.key for value in trait.values] for trait in traits)))
    # A stride near the golden section scatters neighbors, so that the first genera differ widely.
    stride = next(s for s in range(len(keys) * 5 // 8, len(keys)) if gcd(s, len(keys)) == 1)
    start = Chance("first genus", kind.name).below(len(keys))
    first_noun = Chance("first noun", kind.name).below(200)
    for genus in range(POOLS.index(pool), len(keys), len(POOLS)):
        shared = dict(zip(names, keys[(start + genus * stride) % len(keys)], strict=True))
        chance = Chance("genus", kind.name, genus)
        noun = genus_noun(kind.endings, first_noun + genus)
        species, varying = _species(kind, shared, chance)
        epithets = chance.shuffled([*(f"{eponym}'s" for eponym in EPONYMS), *EPITHETS])
        for epithet, signature in zip(epithets, species, strict=False):
            yield f"{epithet} {noun}", kind, genus, signature, varying


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
            {**first, trait.name: value.key}
            for trait in traits
            if trait.name not in varying
            for value in trait.values
            if value.key != first[trait.name]
        ]
        changes = list(filter(kind.sensible, changes))
        if len(changes) >= SPECIES - 1:
            species: list[Signature] = [first, *chance.shuffled(changes)[: SPECIES - 1]]
            return species, frozenset({*varying, "color"})


USUAL_SHARE = 0.2
"""Chance that an individual takes its category's usual value of a varying trait without a draw."""

IMAGES_OF_ONE = 2  # images per individual. They share its traits and must stay in one split

# Captions name few places and lights, and never both: a model that sees the background alone finds
# at most K of 400 images, with K words. Each place has several grounds that captions do not name.
PLACES: Mapping[str, tuple[str, ...]] = {
    "grass": ("lawn", "meadow", "moss"),
    "stone": ("slate", "pebbles", "paving"),
    "wood": ("boards", "weathered", "logs"),
}
LIGHTS = ("day", "evening", "dusk")
COVERS = ("none", "blades", "twig")

FAR, NEAR = 0.66, 0.9
"""Shares of the frame's width: up to FAR a subject counts as small, from NEAR on as close."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A complete description of one image.

    `values` holds the values of all traits. `share` is the size of one subject relative to the
    frame. `individual` seeds what belongs to the individual, `key` everything else.
    """

    category: Category
    image: int
    group: str
    values: Mapping[str, str]
    count: int
    share: float
    place: str
    ground: str
    light: str
    cover: str
    individual: tuple[int | str, ...]
    key: tuple[int | str, ...]


def sight(category: Category, image: int, seed: int) -> Sighting:
    """Return what the image with this number shows; a pure function of its arguments."""
    individual = image // IMAGES_OF_ONE
    individual_key = (seed, category.pool, category.index, "individual", individual)
    key = (seed, category.pool, category.index, "image", image)
    body, moment = Chance(*individual_key), Chance(*key)
    values = _individual(category, body)
    values |= {trait.name: moment.pick(trait.values).key for trait in category.kind.at("image")}
    count = moment.weighted((1, 2, 3), (6, 2, 1))
    share = moment.between(*{1: (0.58, 0.98), 2: (0.5, 0.56), 3: (0.42, 0.47)}[count])
    place = moment.pick(tuple(PLACES))
    return Sighting(
        category,
        image,
        f"{category.name} {individual:04d}",
        values,
        count,
        share,
        place,
        ground=moment.pick(PLACES[place]),
        light=moment.pick(LIGHTS),
        cover=moment.weighted(COVERS, (4, 1, 1)),
        individual=individual_key,
        key=key,
    )


def _individual(category: Category, chance: Chance) -> dict[str, str]:
    """Draw the values that all images of an individual share."""
    kind = category.kind
    while True:
        values = dict(category.signature)
        for trait in kind.at("genus", "species", "individual"):
            varies = trait.name in category.varying and not chance.happens(USUAL_SHARE)
            if varies or trait.level == "individual":
                values[trait.name] = chance.pick(trait.values).key
        if kind.sensible(values):
            return values
