"""Hard negatives: captions that are wrong for the image in exactly one thing."""

from fdrd.negatives.catalogue import Catalogue, make_catalogue
from fdrd.negatives.category_swap import mend_articles
from fdrd.negatives.draw import draw_negatives
from fdrd.negatives.given import clean_given, name_given, parse_given
from fdrd.negatives.released import released_negatives

__all__ = [
    "Catalogue",
    "clean_given",
    "draw_negatives",
    "make_catalogue",
    "mend_articles",
    "name_given",
    "parse_given",
    "released_negatives",
]
