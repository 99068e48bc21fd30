"""Colors that captions name, distinct enough to be recognized at thumbnail size."""

from __future__ import annotations

from fdrd.field_guide.chance import Chance
from fdrd.field_guide.raster import Color

COLORS: dict[str, Color] = {
    "red": (203, 48, 44),
    "orange": (238, 132, 36),
    "yellow": (243, 205, 56),
    "green": (72, 150, 66),
    "teal": (36, 150, 150),
    "blue": (52, 98, 190),
    "purple": (124, 68, 164),
    "pink": (236, 138, 174),
    "brown": (122, 78, 46),
    "grey": (134, 138, 144),
    "black": (40, 40, 46),
    "white": (244, 242, 236),
}

MAIN = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "brown", "grey")
"""Colors of a whole subject; black and white are reserved for markings."""


def shade(color: Color, percent: int) -> Color:
    """Scale the brightness of a color; above 100 percent it moves toward white.

    >>> shade((100, 50, 0), 50), shade((100, 50, 0), 150)
    ((50, 25, 0), (177, 152, 127))
    """
    r, g, b = color
    if percent <= 100:
        return r * percent // 100, g * percent // 100, b * percent // 100
    more = percent - 100
    return r + (255 - r) * more // 100, g + (255 - g) * more // 100, b + (255 - b) * more // 100


def jittered(color: Color, chance: Chance, amount: int = 12) -> Color:
    """Vary each channel a little, so that individuals differ."""
    r, g, b = (
        min(max(channel + chance.below(2 * amount + 1) - amount, 0), 255) for channel in color
    )
    return r, g, b


LOOKALIKES: dict[str, tuple[str, ...]] = {
    "red": ("red", "orange", "brown", "pink"),
    "yellow": ("yellow", "orange"),
    "green": ("green", "teal"),
    "blue": ("blue", "teal", "purple"),
    "brown": ("brown",),
    "black": ("black",),
    "white": ("white",),
}


def stands_out(mark: str, coat: str) -> bool:
    """Return whether a mark of one color is clearly visible on a coat of the other.

    Values that are not colors (`none`, `same`) always pass.

    >>> stands_out("red", "orange"), stands_out("black", "orange"), stands_out("none", "red")
    (False, True, True)
    """
    return coat not in LOOKALIKES.get(mark, ())
