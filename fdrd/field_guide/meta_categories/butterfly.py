"""Butterflies, from above."""

from dataclasses import dataclass

from fdrd.field_guide.outline import Point, at, curve, ellipse, on_side, pierced, polygon, smooth
from fdrd.field_guide.raster import Color, Floats
from fdrd.field_guide.sketch import COLORS, MAIN, Sketch, dewdrop, shade
from fdrd.field_guide.traits import Look, MetaCategory, Signature, Trait, colors, one_of, pointing

# fmt: off

TRAITS = (
    Trait("color", "color", "genus", colors(MAIN, "[{}]"), slot="adjective", legible=0),
    Trait("wings", "shape", "genus", one_of(rounded="[rounded] wings",
        pointed="[pointed] wings / [sharp-tipped] wings",
        scalloped="[scalloped] wing edges / [wavy] wing edges")),
    Trait("tails", "part", "genus", one_of(none="[no tails] / [tailless hind wings]",
        tails="[long tails] on the hind wings / a [pair of tails] on the hind wings",
        clubs="[club-shaped tails] on the hind wings"), legible=50),
    Trait("eyespots", "count", "species", one_of(none="[no eyespots]",
        two="[two] eyespots / [a pair of] eyespots",
        four="[four] eyespots / [two pairs of] eyespots"), legible=50),
    Trait("border", "color", "species",
        colors("none black white", "a [{}] border to the wings", "[{}] wing margins")),
    Trait("markings", "pattern", "species", one_of(none="",
        bands="[pale bands] across the wings / [banded] wings",
        veins="[dark veins] on the wings / [veined] wings",
        dots="[rows of white dots] along the wings / [white-dotted] wings"), legible=50),
    Trait("tips", "color", "species", colors("none black white yellow red", "[{}] wing tips")),
    Trait("damage", "part", "individual", one_of(none="", torn="a [torn wing] / a [ragged wing]",
        drop="a [dewdrop] on one wing / a [drop of water] on one wing"), legible=60),
    Trait("pose", "pose", "image", one_of(spread="[wings spread wide] / [with open wings]",
        half="[wings half closed] / [holding its wings half shut]"), slot="doing"),
    pointing("its head"),
)


def fits(signature: Signature) -> bool:
    """Refuse tips in the color of the border, which would be invisible."""
    return signature["tips"] == "none" or signature["tips"] != signature["border"]


@dataclass(frozen=True, slots=True)
class _Wing:
    """A wing on the right side: its corners and the positions of its markings."""

    corners: tuple[Point, ...]
    tip: tuple[float, float, float, float]  # an ellipse: x, y and radii
    shift: Point  # of the field inside the border
    eye: Point
    veins: tuple[Point, ...]
    dots: tuple[Point, ...]
    band: tuple[Point, ...]


def _wings(shape: str) -> tuple[_Wing, _Wing]:
    """Return the hind wing and the forewing."""
    hind, fore, tip = {
        "rounded": (
            ((0.05, 0.0), (0.62, 0.02), (0.76, 0.38), (0.5, 0.72), (0.16, 0.58)),
            ((0.05, -0.2), (0.4, -0.72), (0.86, -0.72), (0.96, -0.36), (0.66, 0.02), (0.05, 0.1)),
            (0.92, -0.66, 0.3, 0.26),
        ),
        "pointed": (
            ((0.05, 0.0), (0.66, 0.04), (0.72, 0.4), (0.42, 0.74), (0.12, 0.5)),
            ((0.04, -0.16), (0.5, -0.62), (1.04, -0.86), (0.86, -0.36), (0.6, 0.0), (0.05, 0.12)),
            (0.98, -0.8, 0.3, 0.3),
        ),
        "scalloped": (
            ((0.05, 0.0), (0.62, 0.02), (0.78, 0.2), (0.64, 0.34), (0.7, 0.54), (0.48, 0.56),
                (0.42, 0.76), (0.28, 0.6), (0.1, 0.5)),
            ((0.05, -0.2), (0.46, -0.72), (0.88, -0.8), (0.8, -0.58), (0.96, -0.44), (0.8, -0.26),
                (0.86, -0.06), (0.66, -0.02), (0.05, 0.1)),
            (0.88, -0.72, 0.26, 0.24),
        ),
    }[shape]
    return (
        _Wing(
            hind, (0.0, 0.0, 0.0, 0.0), (0.05, 0.05), (0.36, 0.32),
            veins=((0.66, 0.16), (0.62, 0.44), (0.36, 0.68)),
            dots=((0.6, 0.16), (0.58, 0.36), (0.44, 0.54), (0.26, 0.58)),
            band=((0.44, -0.02), (0.42, 0.34), (0.2, 0.66)),
        ),
        _Wing(
            fore, tip, (0.05, -0.05), (0.5, -0.4),
            veins=((0.9, -0.62), (0.9, -0.3), (0.66, -0.02)),
            dots=((0.74, -0.62), (0.76, -0.42), (0.68, -0.24), (0.54, -0.08)),
            band=((0.3, -0.76), (0.42, -0.3), (0.36, 0.14)),
        ),
    )


def draw(sketch: Sketch, look: Look) -> None:
    """Draw a butterfly that faces up."""
    coat = look.color("color")
    folded = Sketch()
    hind, fore = _wings(look["wings"])
    _tails(folded, look, shade(coat, 78))
    for side in (1, -1):
        _wing(folded, look, hind, shade(coat, 78), side, eye=look["eyespots"] != "none")
    for side in (1, -1):
        torn = side > 0 and look["damage"] == "torn"
        _wing(folded, look, fore, coat, side, eye=look["eyespots"] == "four", torn=torn)
    if look["damage"] == "drop":
        dewdrop(folded, -0.62, -0.3)
    sketch.add(folded, across=0.62 if look["pose"] == "half" else 1.0)
    _body(sketch)


def _tails(sketch: Sketch, look: Look, color: Color) -> None:
    if look["tails"] != "none":
        sketch.both(curve((0.34, 0.5), (0.44, 0.78), (0.36, 1.0), start=0.12, end=0.05), color)
    if look["tails"] == "clubs":
        sketch.both(ellipse(0.37, 0.97, 0.1, 0.08), color)


def _wing(sketch: Sketch, look: Look, wing: _Wing, color: Color, side: int, *, eye: bool,
    torn: bool = False) -> None:
    """Draw a wing on side 1 or -1 with all its markings."""

    def mark(outline: Floats, ink: Color) -> None:
        sketch.fill(on_side(outline, side), ink, inside=whole)

    edge = polygon(*wing.corners) if look["wings"] == "pointed" else smooth(*wing.corners)
    border = color if look["border"] == "none" else COLORS[look["border"]]
    notch = polygon((1.2, -0.66), (0.7, -0.5), (0.76, -0.4), (0.56, -0.3), (0.72, -0.22),
        (1.2, -0.16))
    whole = sketch.body(on_side(pierced(edge, notch) if torn else edge, side), border)
    if look["border"] != "none":
        mark(at(edge, *wing.shift, 0.82), color)
    if look["markings"] == "veins":
        for x, y in wing.veins:
            vein = curve((0.04, 0.0), (x * 0.5, y * 0.6 - 0.02), (x, y), start=0.035, end=0.035)
            mark(vein, shade(color, 35))
    elif look["markings"] == "bands":
        mark(curve(*wing.band, start=0.13, end=0.12), shade(look.color("color"), 172))
    elif look["markings"] == "dots":
        for x, y in wing.dots:
            mark(ellipse(x, y, 0.05, 0.05, 0, 10), COLORS["white"])
    if look["tips"] != "none":
        mark(ellipse(*wing.tip), COLORS[look["tips"]])
    if eye:
        x, y = wing.eye
        mark(ellipse(x, y, 0.15, 0.15), (248, 228, 150))
        mark(ellipse(x, y, 0.1, 0.1), (28, 24, 36))
        mark(ellipse(x + 0.03, y - 0.03, 0.035, 0.035, 0, 8), (240, 244, 255))


def _body(sketch: Sketch) -> None:
    sketch.body(ellipse(0.0, 0.02, 0.07, 0.38), (56, 42, 38))
    sketch.body(ellipse(0.0, -0.36, 0.085, 0.09), (56, 42, 38))
    for x in (-0.3, 0.3):
        sketch.fill(curve((0.0, -0.4), (x * 0.5, -0.66), (x, -0.8), start=0.035, end=0.035),
            (40, 30, 30))
        sketch.fill(ellipse(x, -0.8, 0.045, 0.045, 0, 10), (40, 30, 30))


META_CATEGORY = MetaCategory("butterfly", "butterflies",
    ("mander", "dona", "lin", "ette", "per", "wing"), TRAITS, draw, ("tips",), fits)
