"""What one image shows: a category as it was met once, somewhere, in some light, from some side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fdrd.field_guide.chance import Chance
from fdrd.field_guide.taxonomy import Category

IMAGES_OF_ONE = 2
"""Images of an individual: they share what is its own, and a split must not tear them apart."""

# Few words for places and lights, and never both in a caption: with K of them a model that sees the
# background alone finds K in 400 images at best. Each place has several looks that no caption tells
# apart.
PLACES: Mapping[str, tuple[str, ...]] = {
    "grass": ("lawn", "meadow", "moss"),
    "stone": ("slate", "pebbles", "paving"),
    "wood": ("boards", "weathered", "logs"),
}
LIGHTS = ("day", "evening", "dusk")
COVERS = ("none", "blades", "twig")

FAR, NEAR = 0.66, 0.9
"""Share of the frame's width up to which a subject counts as small, and from which as close."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One image, described completely.

    `values` are those of all traits, `share` is the size of one subject relative to the frame.
    `own` is the key of what the individual alone decides, `key` that of everything else by chance.
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
    """The image with this number: a pure function of its arguments."""
    individual = image // IMAGES_OF_ONE
    own = (seed, category.pool, category.index, "individual", individual)
    key = (seed, category.pool, category.index, "image", image)
    body, moment = Chance(*own), Chance(*key)
    values = dict(category.signature)
    for trait in category.kind.at("individual"):
        values[trait.name] = body.pick(trait.values).key
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
