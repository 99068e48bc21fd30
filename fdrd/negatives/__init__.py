"""Hard negatives: captions that are wrong for the image in exactly one respect.

Imports `text` and what lies below it. Others use the names below, `annotate`, and `SeededRandom`.
"""

from fdrd.negatives.catalogue import Catalogue, make_catalogue
from fdrd.negatives.draw import draw_negatives
from fdrd.negatives.given import clean_given, name_given, parse_given
from fdrd.text.mentions import fix_articles

__all__ = [
    "Catalogue",
    "clean_given",
    "draw_negatives",
    "fix_articles",
    "make_catalogue",
    "name_given",
    "parse_given",
]
