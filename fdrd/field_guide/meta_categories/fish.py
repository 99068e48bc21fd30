"""Fish, from the side."""

from fdrd.field_guide.outline import curve, ellipse, polygon, smooth, stroke
from fdrd.field_guide.raster import Color, Floats
from fdrd.field_guide.sketch import MAIN, Sketch, shade
from fdrd.field_guide.traits import SIDEWAYS, Look, MetaCategory, Trait, colors, one_of

# fmt: off

TRAITS = (
    Trait("color", "color", "genus", colors(MAIN, "[{}]"), slot="adjective", legible=0),
    Trait("body", "shape", "genus", one_of(slender="a [slender] body / a [long slim] body",
        oval="an [oval] body", deep="a [deep] body / a [tall round] body")),
    Trait("tail", "shape", "genus", one_of(forked="a [forked] tail", round="a [rounded] tail",
        veil="a [flowing] tail / a [long trailing] tail")),
    Trait("pattern", "pattern", "species", one_of(plain="[plain] sides",
        bars="[three|count] [upright bars] / [upright bars]",
        line="a [stripe along the side] / a [lengthwise stripe]",
        spots="[spots] along its side / [spotted] sides", tailspot="a [dark spot by the tail]")),
    Trait("ink", "color", "species", colors("black white yellow", "[{}] markings"),
        unless=("pattern", ("plain", "tailspot"))),
    Trait("fins", "color", "species", colors("same yellow black white red", "[{}] fins")),
    Trait("dorsal", "shape", "species", one_of(low="a [low] back fin",
        tall="a [tall] back fin / a [sail-like] back fin",
        spiny="a [spiny] back fin / a [jagged] back fin", two="[two|count] back fins")),
    Trait("mask", "pattern", "species", one_of(none="",
        mask="a [dark band through the eye] / a [black eye stripe]"), legible=60),
    Trait("bubbles", "count", "individual", one_of(none="", one="[one] bubble above it",
        three="[three] bubbles above it"), legible=60),
    Trait("pose", "pose", "image", one_of(closed="[mouth closed]",
        open="[mouth wide open] / [with an open mouth]"), slot="doing", legible=70),
    SIDEWAYS,
)


def draw(sketch: Sketch, look: Look) -> None:
    """Draw a fish that faces right."""
    coat = look.color("color")
    fins = shade(coat, 68) if look["fins"] == "same" else look.color("fins")
    half = {"slender": 0.24, "oval": 0.38, "deep": 0.58}[look["body"]]
    _tail(sketch, look, fins)
    _back_fin(sketch, look, fins, -half * 0.8)
    sketch.body(smooth((0.06, half * 0.76), (-0.06, half + 0.26), (-0.24, half + 0.2),
        (-0.2, half * 0.7)), fins)
    trunk = sketch.body(smooth((0.78, 0.02), (0.62, -half * 0.56), (0.2, -half),
        (-0.2, -half * 0.8), (-0.54, -0.1), (-0.54, 0.1), (-0.2, half * 0.8), (0.2, half),
        (0.62, half * 0.6)), coat)
    sketch.fill(ellipse(0.1, half * 0.9, 0.72, half * 0.6), shade(coat, 150), inside=trunk,
        opacity=90)
    _pattern(sketch, look, half, trunk)
    sketch.fill(curve((0.36, -half * 0.7), (0.28, 0.04), (0.38, half * 0.72), start=0.03, end=0.03),
        shade(coat, 55), inside=trunk)
    sketch.body(smooth((0.2, 0.08), (0.0, 0.02), (-0.1, 0.18), (0.06, 0.24)), fins)
    sketch.fill(ellipse(0.54, -half * 0.2, 0.09, 0.09, 0, 16), (250, 246, 226))
    sketch.fill(ellipse(0.56, -half * 0.2, 0.055, 0.055, 0, 12), (18, 18, 24))
    _mouth(sketch, look, coat, trunk)
    bubbles = ((0.8, -0.46, 0.1), (0.66, -0.72, 0.07), (0.9, -0.8, 0.085))
    for x, y, radius in bubbles[: {"none": 0, "one": 1, "three": 3}[look["bubbles"]]]:
        sketch.body(ellipse(x, y, radius, radius), (206, 232, 246))
        sketch.fill(ellipse(x - 0.02, y - 0.03, radius * 0.4, radius * 0.4, 0, 8), (255, 255, 255))


def _tail(sketch: Sketch, look: Look, fins: Color) -> None:
    tails = {"forked": polygon((-0.44, -0.1), (-1.0, -0.46), (-0.76, 0.0), (-1.0, 0.46), (-0.44, 0.1)),
        "round": smooth((-0.44, -0.1), (-0.76, -0.32), (-0.94, 0.0), (-0.76, 0.32), (-0.44, 0.1)),
        "veil": smooth((-0.44, -0.1), (-0.8, -0.44), (-1.12, -0.3), (-0.98, 0.06), (-1.16, 0.5),
            (-0.84, 0.42), (-0.44, 0.12))}
    whole = sketch.body(tails[look["tail"]], fins)
    for y in (-0.2, 0.0, 0.2):
        sketch.fill(stroke((-0.5, y * 0.3), (-1.0, y * 1.6), start=0.02, end=0.03), shade(fins, 66),
            inside=whole)


def _back_fin(sketch: Sketch, look: Look, fins: Color, y: float) -> None:
    shapes = {"low": [smooth((0.3, y), (0.1, y - 0.2), (-0.36, y - 0.1), (-0.4, y + 0.24))],
        "tall": [smooth((0.3, y + 0.1), (0.06, y - 0.5), (-0.26, y - 0.42), (-0.3, y + 0.2))],
        "spiny": [polygon((0.36, y + 0.2), (0.26, y - 0.3), (0.14, y - 0.06), (0.02, y - 0.36),
            (-0.08, y - 0.06), (-0.2, y - 0.3), (-0.26, y), (-0.42, y - 0.12), (-0.4, y + 0.3))],
        "two": [smooth((0.34, y + 0.1), (0.24, y - 0.32), (0.06, y - 0.2), (0.06, y + 0.1)),
            smooth((-0.12, y + 0.1), (-0.2, y - 0.22), (-0.4, y - 0.08), (-0.38, y + 0.3))]}
    for shape in shapes[look["dorsal"]]:
        sketch.body(shape, fins)


def _pattern(sketch: Sketch, look: Look, half: float, trunk: int) -> None:
    ink, marks = look.color("ink"), list[Floats]()
    if look["pattern"] == "bars":
        marks = [curve((x + 0.04, -0.7), (x - 0.02, 0.0), (x + 0.04, 0.7), start=0.12, end=0.12)
            for x in (0.22, -0.06, -0.34)]
    elif look["pattern"] == "line":
        marks = [curve((0.4, -0.04), (0.0, 0.02), (-0.6, 0.0), start=0.15, end=0.12)]
    elif look["pattern"] == "spots":
        marks = [ellipse(x, y * half * 1.7, 0.075, 0.075, 0, 12) for x, y in ((0.28, -0.34),
            (0.08, 0.16), (0.02, -0.4), (-0.16, -0.1), (-0.3, 0.3), (-0.4, -0.1), (0.24, 0.4))]
    sketch.fill_all(marks, ink, inside=trunk)
    if look["pattern"] == "tailspot":
        sketch.fill(ellipse(-0.36, 0.0, 0.12, 0.12), (30, 28, 36), inside=trunk)
    if look["mask"] == "mask":
        sketch.fill(stroke((0.5, -0.6), (0.54, 0.6), start=0.15, end=0.15), (34, 30, 38),
            inside=trunk)


def _mouth(sketch: Sketch, look: Look, coat: Color, trunk: int) -> None:
    if look["pose"] == "closed":
        sketch.fill(curve((0.78, 0.06), (0.7, 0.1), (0.6, 0.1), start=0.035, end=0.02),
            shade(coat, 35))
        return
    sketch.fill(polygon((0.86, -0.12), (0.56, 0.08), (0.86, 0.2)), (70, 24, 30), inside=trunk)
    for lip in (((0.6, 0.02), (0.72, -0.02), (0.84, -0.12)), ((0.6, 0.1), (0.7, 0.16), (0.82, 0.22))):
        sketch.body(curve(*lip, start=0.04, end=0.07), shade(coat, 80))


META_CATEGORY = MetaCategory("fish", "fish", ("bream", "ling", "rudd", "gill", "perk", "dace"),
    TRAITS, draw, ("fins", "ink"))
