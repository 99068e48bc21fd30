"""Hard negatives: captions that are wrong for the image in exactly one thing."""

from fdrd.negatives.catalogue import Catalogue, Category, make_catalogue
from fdrd.negatives.draw import draw_negatives
from fdrd.negatives.given import clean_given, parse_given

__all__ = [
    "Catalogue",
    "Category",
    "clean_given",
    "draw_negatives",
    "make_catalogue",
    "parse_given",
]
