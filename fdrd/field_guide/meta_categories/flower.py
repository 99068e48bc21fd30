"""Flowers: the open head on its stem."""

from fdrd.field_guide.chance import TURN, cosine, sine
from fdrd.field_guide.outline import curve, ellipse, smooth, stroke, turned
from fdrd.field_guide.raster import Floats
from fdrd.field_guide.sketch import COLORS, Sketch, dewdrop, shade
from fdrd.field_guide.traits import Look, MetaCategory, Trait, colors, leaning, one_of

# fmt: off

PETALS = "red orange yellow teal blue purple pink white"

TRAITS = (
    Trait("color", "color", "genus", colors(PETALS, "[{}]"), slot="adjective", legible=0),
    Trait("petal", "shape", "genus", one_of(round="[rounded] petals / [broad round] petals",
        pointed="[pointed] petals", narrow="[narrow] petals / [strap-like] petals",
        notched="[notched] petals / [heart-shaped] petals")),
    Trait("layers", "count", "genus", one_of(single="",
        double="[two] rings of petals / a [double] flower head")),
    Trait("petals", "count", "species", one_of(four="[four] petals", five="[five] petals",
        six="[six] petals", eight="[eight] petals"), legible=50),
    Trait("center", "color", "species",
        colors("yellow black white red green", "a [{}] centre", "a [{}] eye")),
    Trait("markings", "pattern", "species", one_of(none="[plain] petals",
        stripes="a [dark stripe on each petal] / [striped] petals",
        tips="[pale tips] to the petals / [pale-tipped] petals",
        spots="[dark spots] on the petals / [spotted] petals",
        ring="a [dark ring] around the centre"), legible=50),
    Trait("disc", "size", "species", one_of(small="a [small] centre",
        large="a [large] centre / a [big wide] centre"), legible=50),
    Trait("leaves", "count", "individual", one_of(
        none="a [bare stem|part] / a [leafless|part] stem",
        one="[one] leaf on its stem / a [single] leaf on the stem", two="[two] leaves on its stem"),
        legible=60),
    Trait("guest", "part", "individual", one_of(none="",
        bee="a [bee] on a petal / a [bee] sitting on it",
        drop="a [dewdrop] on a petal / a [drop of water] on a petal",
        bud="a [closed bud] beside it / an [unopened bud]"), legible=60),
    Trait("pose", "pose", "image", one_of(upright="[fully open] / [wide open]",
        half="[half turned away] / [seen at an angle]"), slot="doing"),
    leaning(110),
)


def draw(sketch: Sketch, look: Look) -> None:
    """Draw a flower that grows upward."""
    coat = look.color("color")
    stem = (78, 136, 58)
    hx, hy = 0.0, -0.3
    sketch.body(curve((0.02, 1.0), (-0.06, 0.5), (hx, hy), start=0.11, end=0.08), stem)
    leaves = {"none": 0, "one": 1, "two": 2}[look["leaves"]]
    for side in (1, -1)[:leaves]:
        y = 0.66 if side > 0 else 0.8
        blade = sketch.body(smooth((0.0, y), (side * 0.22, y - 0.26), (side * 0.6, y - 0.3),
            (side * 0.3, y - 0.02)), shade(stem, 110))
        sketch.fill(stroke((0.0, y), (side * 0.56, y - 0.28), start=0.03, end=0.015),
            shade(stem, 60), inside=blade)
    if look["guest"] == "bud":
        sketch.body(curve((-0.02, 0.7), (-0.36, 0.5), (-0.56, 0.36), start=0.06, end=0.05), stem)
        sketch.body(ellipse(-0.6, 0.28, 0.1, 0.17, -60), coat)
        sketch.body(ellipse(-0.56, 0.36, 0.1, 0.09, -60), stem)

    count = {"four": 4, "five": 5, "six": 6, "eight": 8}[look["petals"]]
    flat = 0.62 if look["pose"] == "half" else 1.0
    wide = {4: 0.34, 5: 0.3, 6: 0.25, 8: 0.19}[count] * (0.62 if look["petal"] == "narrow" else 1.0)
    rings = ((0.66, TURN // (2 * count), 82), (0.6, 0,
        100)) if look["layers"] == "double" else ((0.66, 0, 100),)
    halves = {"round": ((wide * 0.7, -0.3), (wide, -0.62), (0.0, -1.0)),
        "pointed": ((wide, -0.38), (wide * 0.5, -0.72), (0.03, -1.06)),
        "narrow": ((wide * 0.8, -0.3), (wide, -0.9), (0.0, -1.02)),
        "notched": ((wide * 0.7, -0.3), (wide * 1.1, -0.76), (wide * 0.6, -1.02), (0.0, -0.78))}
    half = halves[look["petal"]]
    petal = smooth((0.0, 0.06), *half, *((-x, y) for x, y in reversed(half) if x))
    for length, offset, brightness in rings:
        for i in range(count):
            angle = i * TURN // count + offset

            def put(outline: Floats, angle: int = angle, length: float = length) -> Floats:
                return turned(outline * length, angle, 0.0, 0.0) * (1.0, flat) + (hx, hy)

            whole = sketch.body(put(petal), shade(coat, brightness))
            if look["markings"] == "stripes":
                sketch.fill(put(stroke((0.0, 0.0), (0.0, -0.8), start=0.09, end=0.05)),
                    shade(coat, 45), inside=whole)
            elif look["markings"] == "tips":
                sketch.fill(put(ellipse(0.0, -1.02, wide * 1.5, 0.26, 0, 16)),
                    shade(coat, 178) if look["color"] != "white" else (246, 170, 196),
                    inside=whole)
            elif look["markings"] == "spots":
                for x, y in ((-0.09, -0.5), (0.1, -0.62), (0.0, -0.78)):
                    sketch.fill(put(ellipse(x * (0.7 if count == 8 else 1), y, 0.055, 0.055, 0, 8)),
                        shade(coat, 38), inside=whole)
    if look["markings"] == "ring":
        sketch.fill(ellipse(hx, hy, 0.36, 0.36 * flat), shade(coat, 42))
    radius = 0.28 if look["disc"] == "large" else 0.15
    eye = sketch.body(ellipse(hx, hy, radius, radius * flat), COLORS[look["center"]])
    for i in range(7):
        angle = i * TURN // 7
        sketch.fill(ellipse(hx + radius * 0.6 * cosine(angle),
            hy + radius * 0.6 * flat * sine(angle), 0.03, 0.03, 0, 8),
            shade(COLORS[look["center"]], 60 if look["center"] != "black" else 160), inside=eye)
    if look["guest"] == "bee":
        sketch.body(ellipse(0.34, hy - 0.24, 0.1, 0.06, -120, 14), (226, 236, 244))
        bee = sketch.body(ellipse(0.4, hy - 0.14, 0.16, 0.1), COLORS["yellow"])
        for x in (0.33, 0.43):
            sketch.fill(stroke((x, hy - 0.3), (x, hy), start=0.05, end=0.05), COLORS["black"],
                inside=bee)
    elif look["guest"] == "drop":
        dewdrop(sketch, -0.32, hy - 0.18)


META_CATEGORY = MetaCategory("flower", "flowers", ("bane", "wort", "mint", "bell", "rose", "bloom"),
    TRAITS, draw, ("center",))
