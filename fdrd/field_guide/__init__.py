"""The field guide: draws a fine-grained image-text data set from attributes, into a plain folder.

    from fdrd.field_guide import categories, draw, sample

    sample("raw/", categories=120, pairs=2400)            # a source for `fdrd build`
    draw(categories(1)[0], image=0).image.show()          # one image

Categories come from trait signatures (`taxonomy`), what an image shows from chance (`sighting`),
its pixels from painters (`meta_categories/`, `scene`, `picture`), its words from `caption`.
"""

from fdrd.field_guide.plate import Plate, draw
from fdrd.field_guide.taxonomy import POOLS, Category, Pool, available, categories
from fdrd.field_guide.writer import EDITION, sample, splits

__all__ = [
    "EDITION",
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
