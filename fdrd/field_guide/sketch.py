"""Sketches: filled shapes from back to front, before they are placed on a canvas; and the colors that captions name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from fdrd.field_guide import raster
from fdrd.field_guide.chance import Chance, cosine, sine
from fdrd.field_guide.outline import ellipse, mirrored
from fdrd.field_guide.raster import FULL, Color, Floats, Mask, Shades


@dataclass(frozen=True, slots=True)
class Shape:
    """One filled outline.

    `opacity` goes from 0 to `FULL`. `inside` is the number of an earlier shape that this one does
    not leave. `inked` shapes get a dark contour and cast a shadow: they make up the silhouette.
    """

    outline: Floats
    color: Color
    opacity: int = FULL
    inside: int | None = None
    inked: bool = False


class Sketch:
    """Shapes in painting order."""

    def __init__(self) -> None:
        self.shapes: list[Shape] = []

    def fill(
        self, outline: Floats, color: Color, *, inside: int | None = None, opacity: int = FULL
    ) -> int:
        """Add a shape without a contour, and return its number for `inside`."""
        self.shapes.append(Shape(outline, color, opacity, inside))
        return len(self.shapes) - 1

    def fill_all(self, outlines: Sequence[Floats], color: Color, *, inside: int) -> None:
        """Add shapes of one color without a contour."""
        for outline in outlines:
            self.fill(outline, color, inside=inside)

    def body(self, outline: Floats, color: Color) -> int:
        """Add a shape of the silhouette with a contour, and return its number for `inside`."""
        self.shapes.append(Shape(outline, color, inked=True))
        return len(self.shapes) - 1

    def add(self, other: Sketch, *, across: float = 1.0) -> None:
        """Add all shapes of another sketch, narrowed along its x axis."""
        offset = len(self.shapes)
        for shape in other.shapes:
            inside = None if shape.inside is None else shape.inside + offset
            outline = shape.outline * np.array((across, 1.0))
            self.shapes.append(replace(shape, outline=outline, inside=inside))

    def both(self, outline: Floats, color: Color) -> tuple[int, int]:
        """Add a shape of the silhouette and its mirror image, and return their numbers."""
        return self.body(outline, color), self.body(mirrored(outline), color)


@dataclass(frozen=True, slots=True)
class Placement:
    """Placement of a sketch: origin at (x, y) and unit in pixels, turned and mirrored.

    `squeeze` narrows it along its own x axis, as if it were tilted away.
    """

    x: float
    y: float
    unit: float
    turn: int = 0
    mirror: bool = False
    squeeze: float = 1.0


def placed(sketch: Sketch, placements: Sequence[Placement]) -> list[Shape]:
    """Return the shapes of the sketch at every placement, with outlines in pixels."""
    if not sketch.shapes:
        return []
    points = np.concatenate([shape.outline for shape in sketch.shapes])
    cuts = [0, *accumulate(len(shape.outline) for shape in sketch.shapes)]
    shapes: list[Shape] = []
    for placement in placements:
        across = placement.unit * placement.squeeze * (-1.0 if placement.mirror else 1.0)
        u, v = points[:, 0] * across, points[:, 1] * placement.unit
        c, s = cosine(placement.turn), sine(placement.turn)
        x, y = u * c - v * s + placement.x, u * s + v * c + placement.y
        offset = len(shapes)
        outlines = np.stack([x, y], axis=1)
        for shape, start, end in zip(sketch.shapes, cuts, cuts[1:], strict=False):
            inside = None if shape.inside is None else shape.inside + offset
            shapes.append(replace(shape, outline=outlines[start:end], inside=inside))
    return shapes


Shadow = tuple[int, int, int]
"""A shadow: pixels to the right and down, and its darkness from 0 to `FULL`."""


def render(
    canvas: Shades, shapes: Sequence[Shape], *, contour: float = 0.0, shadow: Shadow | None = None
) -> None:
    """Paint shapes, from back to front, onto the canvas (3, height, width) of values from 0 to 255, in place.

    `contour` is the width of the contours in pixels, and the silhouette casts `shadow`.
    """
    if not shapes:
        return
    _, height, width = canvas.shape
    points = np.concatenate([shape.outline for shape in shapes])
    lengths = [len(shape.outline) for shape in shapes]
    inked = [index for index, shape in enumerate(shapes) if shape.inked]
    rims = _grown([shapes[index].outline for index in inked], contour)
    points, lengths = np.concatenate([points, rims]), lengths + [lengths[i] for i in inked]
    everything = raster.masks(points, lengths, width, height)
    flat, rim = everything[: len(shapes)], dict(zip(inked, everything[len(shapes) :], strict=True))
    if shadow:
        _cast(canvas, list(rim.values()), *shadow)
    for index, shape in enumerate(shapes):
        mask = flat[index]
        if shape.inside is not None:
            mask = raster.within(mask, flat[shape.inside])
        if index in rim:
            r, g, b = shape.color
            raster.paint(canvas, rim[index], (r * 2 // 5, g * 2 // 5, b * 2 // 5))
        if mask.shares.size:
            raster.paint(canvas, mask, shape.color, shape.opacity)


def _cast(canvas: Shades, silhouette: Sequence[Mask], right: int, down: int, opacity: int) -> None:
    """Darken the canvas under the moved silhouette, once where parts overlap."""
    _, height, width = canvas.shape
    edge = max(right, down) + 1
    cover = np.zeros((height + 2 * edge, width + 2 * edge), np.int16)
    for mask in silhouette:
        rows, columns = mask.shares.shape
        top, left = mask.top + edge + down, mask.left + edge + right
        region = cover[top : top + rows, left : left + columns]
        np.maximum(region, mask.shares, out=region)
    soft = cover[1:-1] * 2 + cover[:-2] + cover[2:]  # a small blur: shadows have soft edges
    soft = soft[:, 1:-1] * 2 + soft[:, :-2] + soft[:, 2:]
    shares = soft[edge - 1 : edge - 1 + height, edge - 1 : edge - 1 + width] // 16
    raster.paint(canvas, Mask(0, 0, shares), (24, 24, 40), opacity)


def _grown(outlines: Sequence[Floats], by: float) -> Floats:
    """Move the points of all outlines outward by this many pixels."""
    if not outlines:
        return np.zeros((0, 2))
    lengths, points = [len(outline) for outline in outlines], np.concatenate(outlines)
    _, following = raster.rings(lengths)
    before = np.argsort(following)
    side = np.where(raster.runs_clockwise(points, lengths), by, -by).repeat(lengths)
    dx = points[following, 0] - points[before, 0]
    dy = points[following, 1] - points[before, 1]
    length = np.maximum(np.sqrt(dx * dx + dy * dy), 1e-6)
    return np.stack([points[:, 0] + dy / length * side, points[:, 1] - dx / length * side], axis=1)


def dewdrop(sketch: Sketch, x: float, y: float) -> None:
    """Draw a drop of water with a highlight around (x, y)."""
    sketch.body(ellipse(x, y, 0.1, 0.1), (206, 230, 246))
    sketch.fill(ellipse(x - 0.035, y - 0.04, 0.036, 0.036, 0, 8), (255, 255, 255))


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

MAIN = "red orange yellow green teal blue purple pink brown grey"
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
    shifted = (channel + chance.below(2 * amount + 1) - amount for channel in color)
    r, g, b = (min(max(channel, 0), 255) for channel in shifted)
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
