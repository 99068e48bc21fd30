"""Butterflies, from above."""

from __future__ import annotations

from fdrd.field_guide.outline import curve, ellipse, mirrored, pierced, polygon, smooth
from fdrd.field_guide.palette import COLOURS, MAIN, shade, stands_out
from fdrd.field_guide.raster import Floats
from fdrd.field_guide.sketch import Sketch
from fdrd.field_guide.traits import (
    Look,
    MetaCategory,
    Signature,
    Trait,
    colours,
    one_of,
    pointing,
)

# fmt: off
# (Words and coordinates read better in rows.)

TRAITS = (
    Trait("colour", "colour", "genus", colours(MAIN, "[{}]"), slot="adjective", legible=0),
    Trait("wings", "shape", "genus", one_of(
        rounded=("[rounded] wings",), pointed=("[pointed] wings", "[sharp-tipped] wings"),
        scalloped=("[scalloped] wing edges", "[wavy] wing edges"),
    )),
    Trait("tails", "part", "genus", one_of(
        none=("[no tails]", "[tailless hind wings]"),
        tails=("[long tails] on the hind wings", "a [pair of tails] on the hind wings"),
        clubs=("[club-shaped tails] on the hind wings",),
    ), legible=50),
    Trait("eyespots", "count", "species", one_of(
        none=("[no eyespots]",), two=("[two] eyespots", "[a pair of] eyespots"),
        four=("[four] eyespots", "[two pairs of] eyespots"),
    ), legible=50),
    Trait("border", "colour", "species", one_of(
        none=(), black=("a [black] border to the wings", "[black] wing margins"),
        white=("a [white] border to the wings", "[white] wing margins"),
    )),
    Trait("markings", "pattern", "species", one_of(
        none=(), bands=("[pale bands] across the wings", "[banded] wings"),
        veins=("[dark veins] on the wings", "[veined] wings"),
        dots=("[rows of white dots] along the wings", "[white-dotted] wings"),
    ), legible=50),
    Trait("tips", "colour", "species", one_of(
        none=(), black="[black] wing tips", white="[white] wing tips", yellow="[yellow] wing tips",
        red="[red] wing tips",
    )),
    Trait("damage", "part", "individual", one_of(
        none=(), torn=("a [torn wing]", "a [ragged wing]"),
        drop=("a [dewdrop] on one wing", "a [drop of water] on one wing"),
    ), legible=60),
    Trait("pose", "pose", "image", one_of(
        spread=("[wings spread wide]", "[with open wings]"),
        half=("[wings half closed]", "[holding its wings half shut]"),
    ), slot="doing"),
    pointing("its head"),
)


def sensible(signature: Signature) -> bool:
    """Tips in the colour of the wings or of their border could not be seen."""
    if signature["tips"] != "none" and signature["tips"] == signature["border"]:
        return False
    return stands_out(signature["tips"], signature["colour"])


def draw(sketch: Sketch, look: Look) -> None:
    """Draw a butterfly that looks up."""
    coat = look.colour("colour")
    hind_coat = shade(coat, 78)
    narrow = 0.62 if look["pose"] == "half" else 1.0

    def wide(*points: tuple[float, float]) -> tuple[tuple[float, float], ...]:
        return tuple((x * narrow, y) for x, y in points)

    if look["wings"] == "rounded":
        fore = smooth(*wide((0.05, -0.2), (0.4, -0.72), (0.86, -0.72), (0.96, -0.36), (0.66, 0.02),
            (0.05, 0.1)))
        hind = smooth(*wide((0.05, 0.0), (0.62, 0.02), (0.76, 0.38), (0.5, 0.72), (0.16, 0.58)))
        tip = ellipse(0.92 * narrow, -0.66, 0.3 * narrow, 0.26)
    elif look["wings"] == "pointed":
        fore = polygon(*wide((0.04, -0.16), (0.5, -0.62), (1.04, -0.86), (0.86, -0.36), (0.6, 0.0),
            (0.05, 0.12)))
        hind = polygon(*wide((0.05, 0.0), (0.66, 0.04), (0.72, 0.4), (0.42, 0.74), (0.12, 0.5)))
        tip = ellipse(0.98 * narrow, -0.8, 0.3 * narrow, 0.3)
    else:
        fore = smooth(*wide((0.05, -0.2), (0.46, -0.72), (0.88, -0.8), (0.8, -0.58), (0.96, -0.44),
            (0.8, -0.26), (0.86, -0.06), (0.66, -0.02), (0.05, 0.1)))
        hind = smooth(*wide((0.05, 0.0), (0.62, 0.02), (0.78, 0.2), (0.64, 0.34), (0.7, 0.54),
            (0.48, 0.56), (0.42, 0.76), (0.28, 0.6), (0.1, 0.5)))
        tip = ellipse(0.88 * narrow, -0.72, 0.26 * narrow, 0.24)

    if look["tails"] != "none":
        club = look["tails"] == "clubs"
        tail = curve(*wide((0.34, 0.5), (0.44, 0.78), (0.36, 1.0)), start=0.12, end=0.05)
        sketch.both(tail, hind_coat)
        if club:
            sketch.both(ellipse(0.37 * narrow, 0.97, 0.1, 0.08), hind_coat)

    inner = tuple((outline * 0.82 + shift for outline,
        shift in ((fore, (0.05 * narrow, -0.05)), (hind, (0.05 * narrow, 0.05)))))
    for outline, core, colour in ((hind, inner[1], hind_coat), (fore, inner[0], coat)):
        is_fore = outline is fore
        edge = colour if look["border"] == "none" else COLOURS[look["border"]]
        whole = outline
        if is_fore and look["damage"] == "torn":
            whole = pierced(fore, polygon(*wide((1.2, -0.66), (0.7, -0.5), (0.76, -0.4),
                (0.56, -0.3), (0.72, -0.22), (1.2, -0.16))))
        for (side, wing) in enumerate((sketch.body(whole, edge),
            sketch.body(mirrored(outline), edge))):
            def half(shape: Floats, side: int = side) -> Floats:
                return mirrored(shape) if side else shape

            if look["border"] != "none":
                sketch.fill(half(core), colour, inside=wing)
            if look["markings"] == "veins":
                for (x, y) in ((0.9, -0.62), (0.9, -0.3),
                    (0.66, -0.02)) if is_fore else ((0.66, 0.16), (0.62, 0.44), (0.36, 0.68)):
                    sketch.fill(half(curve((0.04, 0.0), (x * 0.5 * narrow, y * 0.6 - 0.02),
                        (x * narrow, y), start=0.035, end=0.035)), shade(colour, 35), inside=wing)
            elif look["markings"] == "bands":
                band = curve(*wide((0.3, -0.76), (0.42, -0.3), (0.36, 0.14)), start=0.14,
                    end=0.12) if is_fore else curve(*wide((0.44, -0.02), (0.42, 0.34), (0.2, 0.66)),
                    start=0.12, end=0.12)
                sketch.fill(half(band), shade(coat, 172), inside=wing)
            elif look["markings"] == "dots":
                for (x, y) in ((0.74, -0.62), (0.76, -0.42), (0.68, -0.24),
                    (0.54, -0.08)) if is_fore else ((0.6, 0.16), (0.58, 0.36), (0.44, 0.54),
                    (0.26, 0.58)):
                    sketch.fill(half(ellipse(x * narrow, y, 0.05 * narrow, 0.05, 0, 10)),
                        COLOURS["white"], inside=wing)
            if is_fore and look["tips"] != "none":
                sketch.fill(half(tip), COLOURS[look["tips"]], inside=wing)
            if look["eyespots"] == "four" or (look["eyespots"] == "two" and not is_fore):
                x, y = (0.5, -0.4) if is_fore else (0.36, 0.32)
                sketch.fill(half(ellipse(x * narrow, y, 0.15 * narrow, 0.15)), (248, 228, 150),
                    inside=wing)
                sketch.fill(half(ellipse(x * narrow, y, 0.1 * narrow, 0.1)), (28, 24, 36),
                    inside=wing)
                sketch.fill(half(ellipse((x + 0.03) * narrow, y - 0.03, 0.035, 0.035, 0, 8)),
                    (240, 244, 255), inside=wing)
            if side and is_fore and look["damage"] == "drop":
                sketch.body(ellipse(-0.62 * narrow, -0.3, 0.1, 0.1), (206, 230, 246))
                sketch.fill(ellipse(-0.66 * narrow, -0.34, 0.035, 0.035, 0, 8), (255, 255, 255))
    sketch.body(ellipse(0.0, 0.02, 0.07, 0.38), (56, 42, 38))
    sketch.body(ellipse(0.0, -0.36, 0.085, 0.09), (56, 42, 38))
    for x in (-0.3, 0.3):
        sketch.fill(curve((0.0, -0.4), (x * 0.5, -0.66), (x, -0.8), start=0.035, end=0.035),
            (40, 30, 30))
        sketch.fill(ellipse(x, -0.8, 0.045, 0.045, 0, 10), (40, 30, 30))


META_CATEGORY = MetaCategory("butterfly", "butterflies",
    ("mander", "dona", "lin", "ette", "per", "wing"), TRAITS, draw, sensible)
