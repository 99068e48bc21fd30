"""The field guide: draw a fine-grained image-text dataset from attributes, into a plain folder.

    from fdrd.field_guide import categories, draw, sample

    sample("raw/", categories=120, pairs=2400)            # a source for `fdrd build`
    draw(categories(1)[0], image=0).image.show()          # one image

`taxonomy` defines categories by their traits and draws at random what one image shows. `meta_categories/`, `scene` and
`plate` turn it into pixels, `caption` into words. `flaws` plants what a build should find.
Imports `fdrd.files`, `fdrd.engines` and the types below them.
"""

from fdrd.field_guide.flaws import FLAWS
from fdrd.field_guide.plate import Plate, draw
from fdrd.field_guide.taxonomy import POOLS, Category, Pool, available, categories
from fdrd.field_guide.writer import EDITION, sample, splits

__all__ = [
    "EDITION",
    "FLAWS",
    "POOLS",
    "Category",
    "Plate",
    "Pool",
    "available",
    "categories",
    "draw",
    "sample",
    "splits",
]
