"""What one image shows: one individual of a category at a place, in a light, from a side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fdrd.field_guide.chance import Chance
from fdrd.field_guide.taxonomy import Category

USUAL_SHARE = 0.2
"""Chance that an individual takes its category's usual value of a varying trait without a draw."""

IMAGES_OF_ONE = 2
"""Images per individual. They share its traits and must stay in one split."""

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
    frame. `own` seeds what belongs to the individual, `key` everything else.
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
    own: tuple[int | str, ...]
    key: tuple[int | str, ...]


def sight(category: Category, image: int, seed: int) -> Sighting:
    """Return what the image with this number shows; a pure function of its arguments."""
    individual = image // IMAGES_OF_ONE
    own = (seed, category.pool, category.index, "individual", individual)
    key = (seed, category.pool, category.index, "image", image)
    body, moment = Chance(*own), Chance(*key)
    values = _individual(category, body)
    for trait in category.kind.at("image"):
        values[trait.name] = moment.pick(trait.values).key
    count = moment.weighted((1, 2, 3), (6, 2, 1))
    share = moment.between(*{1: (0.58, 0.98), 2: (0.5, 0.56), 3: (0.42, 0.47)}[count])
    place = moment.pick(tuple(PLACES))
    return Sighting(
        category=category,
        image=image,
        group=f"{category.name} {individual:04d}",
        values=values,
        count=count,
        share=share,
        place=place,
        ground=moment.pick(PLACES[place]),
        light=moment.pick(LIGHTS),
        cover=moment.weighted(COVERS, (4, 1, 1)),
        own=own,
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
