"""Hard negatives: captions that are wrong for the image in exactly one respect.

Imports `text` and the rooms below it. Others use the names below, `annotate`, and `SeededRandom`.
"""

from fdrd.negatives.catalog import Catalog, make_catalog
from fdrd.negatives.draw import draw_negatives
from fdrd.text.mentions import fix_articles

__all__ = [
    "Catalog",
    "draw_negatives",
    "fix_articles",
    "make_catalog",
]
