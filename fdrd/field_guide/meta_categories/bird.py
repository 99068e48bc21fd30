"""Birds, from the side."""

from fdrd.field_guide.outline import Point, curve, ellipse, polygon, smooth, star, stroke
from fdrd.field_guide.raster import Color
from fdrd.field_guide.sketch import COLORS, MAIN, Sketch, shade
from fdrd.field_guide.traits import SIDEWAYS, Look, MetaCategory, Trait, colors, one_of

# fmt: off

TRAITS = (
    Trait("color", "color", "genus", colors(MAIN, "[{}]"), slot="adjective", legible=0),
    Trait("bill", "shape", "genus", one_of(short="a [short] bill",
        long="a [long thin] bill / a [long] bill", hooked="a [hooked] bill / a [curved] bill"),
        legible=60),
    Trait("tail", "shape", "genus", one_of(forked="a [forked] tail",
        fan="a [fanned] tail / a [fan-shaped] tail", long="a [long pointed] tail / a [long] tail")),
    Trait("crest", "part", "species", one_of(none="[no crest]",
        spiky="a [spiky crest] / a [ragged crest]",
        plume="a [single head plume] / a [curling head plume]"), legible=50),
    Trait("bars", "pattern", "species", one_of(none="[plain wings] / [unbarred wings]",
        one="[one|count] [white|color] wing bar / a [single wing bar]",
        two="[two|count] [white|color] wing bars / a [double wing bar]"), legible=60),
    Trait("breast", "pattern", "species", one_of(plain="",
        spotted="a [spotted] breast / a [speckled] breast", streaked="a [streaked] breast",
        barred="a [barred] breast"), legible=60),
    Trait("cap", "color", "species",
        colors("none black white red yellow", "a [{}] cap", "a [{}] crown")),
    Trait("collar", "color", "species", colors("none white black", "a [{}] collar"), legible=50),
    Trait("carries", "part", "individual", one_of(none="",
        berry="a [red berry] in its bill / a [berry] held in its bill",
        twig="a [twig] in its bill / a [small twig] held in its bill",
        ring="a [yellow|color] [leg ring] / a [ring on its leg]"), legible=70),
    Trait("pose", "pose", "image", one_of(standing="[standing upright] / [standing still]",
        raised="[with its wings raised] / [lifting its wings]",
        leaning="[leaning forward] / [bending down]"), slot="doing"),
    SIDEWAYS,
)


def draw(sketch: Sketch, look: Look) -> None:
    """Draw a bird that faces right."""
    coat = look.color("color")
    feathers = shade(coat, 80)
    lean = 0.16 if look["pose"] == "leaning" else 0.0
    head = (0.46 + lean, -0.42 + 2 * lean)
    _legs(sketch, look)
    _tail(sketch, look, feathers)
    if look["pose"] == "raised":  # the far wing
        sketch.body(smooth((0.2, -0.1), (0.22, -0.6), (0.0, -1.0), (-0.16, -0.6), (-0.2, -0.1)),
            shade(coat, 50))
    trunk = _trunk(sketch, look, coat, head)
    _head(sketch, look, coat, head, trunk)
    _wing(sketch, look, feathers)


def _legs(sketch: Sketch, look: Look) -> None:
    horn, foot = (92, 66, 40), 0.92
    for x in (-0.02, 0.2):
        sketch.fill(stroke((x, 0.4), (x + 0.04, 0.72), (x - 0.02, foot), start=0.06, end=0.05), horn)
        sketch.fill(stroke((x - 0.1, foot), (x + 0.12, foot), start=0.05, end=0.04), horn)
    if look["carries"] == "ring":
        sketch.body(stroke((0.2, 0.66), (0.27, 0.66), start=0.14, end=0.14), COLORS["yellow"])


def _tail(sketch: Sketch, look: Look, feathers: Color) -> None:
    tails = {"forked": polygon((-0.4, -0.08), (-1.0, 0.04), (-0.74, 0.2), (-1.0, 0.5), (-0.36, 0.24)),
        "fan": smooth((-0.4, 0.0), (-0.78, -0.22), (-0.96, 0.02), (-0.96, 0.3), (-0.76, 0.52),
            (-0.4, 0.24)),
        "long": polygon((-0.36, -0.06), (-1.0, 0.56), (-1.04, 0.7), (-0.94, 0.66), (-0.3, 0.26))}
    sketch.body(tails[look["tail"]], feathers)
    if look["tail"] == "fan":
        for y in (-0.05, 0.17, 0.38):
            sketch.fill(stroke((-0.5, 0.13), (-0.9, y), start=0.02, end=0.04), shade(feathers, 70))


def _trunk(sketch: Sketch, look: Look, coat: Color, head: Point) -> int:
    hx, hy = head
    trunk = sketch.body(smooth((-0.5, 0.1), (-0.26, -0.2), (0.1, -0.34), (hx - 0.2, hy + 0.02),
        (hx + 0.05, hy - 0.1), (hx + 0.14, hy + 0.2), (0.46, 0.12), (0.3, 0.4), (-0.06, 0.5),
        (-0.36, 0.36)), coat)
    sketch.fill(ellipse(0.28, 0.26, 0.36, 0.36, 64), shade(coat, 155), inside=trunk)
    marks = {"plain": [], "spotted": [ellipse(x, y, 0.05, 0.05, 0, 10) for x, y in ((0.28, 0.0),
            (0.42, 0.1), (0.2, 0.16), (0.34, 0.24), (0.12, 0.3), (0.24, 0.38), (0.02, 0.42))],
        "streaked": [stroke((x + 0.03, -0.02), (x - 0.03, 0.48), start=0.045, end=0.03)
            for x in (0.02, 0.12, 0.22, 0.32, 0.42)],
        "barred": [stroke((0.02, y + 0.04), (0.34, y + 0.05), (0.62, y - 0.06), start=0.05,
            end=0.05) for y in (0.02, 0.15, 0.28, 0.41)]}
    sketch.fill_all(marks[look["breast"]], (48, 36, 34), inside=trunk)
    return trunk


def _head(sketch: Sketch, look: Look, coat: Color, head: Point, trunk: int) -> None:
    x, y = head
    skull = sketch.body(ellipse(x, y, 0.25, 0.24), coat)
    # The neck hides the contour between head and trunk.
    sketch.fill(ellipse(x - 0.06, y + 0.17, 0.2, 0.18), coat, inside=trunk)
    if look["collar"] != "none":
        sketch.fill(curve((x - 0.3, y + 0.12), (x - 0.06, y + 0.26), (x + 0.22, y + 0.2),
            start=0.12, end=0.12), COLORS[look["collar"]], inside=trunk)
    cap = COLORS[look["cap"]] if look["cap"] != "none" else None
    _crest(sketch, look, cap or shade(coat, 80), head)
    if cap:
        sketch.fill(smooth((x - 0.28, y - 0.02), (x - 0.2, y - 0.3), (x + 0.2, y - 0.3),
            (x + 0.28, y - 0.06), (x, y - 0.1)), cap, inside=skull)
    _bill(sketch, look, (x + 0.2, y))
    sketch.fill(ellipse(x + 0.08, y - 0.02, 0.07, 0.07, 0, 12), (250, 246, 230))
    sketch.fill(ellipse(x + 0.09, y - 0.02, 0.048, 0.048, 0, 12), (20, 18, 22))
    sketch.fill(star(x + 0.105, y - 0.04, 0.02, 0.01, 4), (255, 255, 255))


def _crest(sketch: Sketch, look: Look, color: Color, head: Point) -> None:
    x, y = head
    if look["crest"] == "spiky":
        sketch.body(polygon((x + 0.12, y - 0.2), (x + 0.02, y - 0.46), (x - 0.06, y - 0.3),
            (x - 0.2, y - 0.46), (x - 0.18, y - 0.22), (x - 0.4, y - 0.26), (x - 0.2, y)), color)
    elif look["crest"] == "plume":
        sketch.body(curve((x + 0.06, y - 0.2), (x - 0.06, y - 0.5), (x - 0.34, y - 0.52),
            start=0.07, end=0.09), color)
        sketch.body(ellipse(x - 0.36, y - 0.5, 0.09, 0.08), color)


def _bill(sketch: Sketch, look: Look, root: Point) -> None:
    x, y = root
    tips = {"short": (x + 0.2, y + 0.05), "long": (x + 0.46, y + 0.1), "hooked": (x + 0.2, y + 0.18)}
    tx, ty = tip = tips[look["bill"]]
    bills = {"short": polygon((x, y - 0.07), tip, (x, y + 0.12)),
        "long": polygon((x, y - 0.04), tip, (x, y + 0.08)),
        "hooked": smooth((x - 0.02, y - 0.1), (x + 0.18, y - 0.06), (x + 0.23, y + 0.22),
            (x + 0.1, y + 0.08), (x - 0.02, y + 0.1))}
    sketch.body(bills[look["bill"]], (232, 168, 60))
    if look["carries"] == "berry":
        sketch.body(ellipse(tx, ty + 0.05, 0.1, 0.1), COLORS["red"])
    elif look["carries"] == "twig":
        sketch.body(stroke((tx - 0.16, ty - 0.2), (tx + 0.04, ty + 0.3), start=0.06, end=0.05),
            (96, 66, 36))


def _wing(sketch: Sketch, look: Look, feathers: Color) -> None:
    if look["pose"] == "raised":
        wing = smooth((0.12, 0.06), (0.0, -0.5), (-0.3, -1.0), (-0.44, -0.5), (-0.34, 0.04),
            (-0.1, 0.16))
        bars = (((-0.48, -0.3), (0.1, -0.36)), ((-0.48, -0.54), (0.06, -0.6)))
    else:
        wing = smooth((0.18, -0.1), (-0.1, -0.2), (-0.5, 0.04), (-0.74, 0.26), (-0.3, 0.28),
            (0.06, 0.2))
        bars = (((-0.14, -0.26), (-0.02, 0.4)), ((-0.36, -0.2), (-0.24, 0.4)))
    whole = sketch.body(wing, feathers)
    for bar in bars[: {"none": 0, "one": 1, "two": 2}[look["bars"]]]:
        sketch.fill(stroke(*bar, start=0.1, end=0.1), COLORS["white"], inside=whole)


META_CATEGORY = MetaCategory("bird", "birds", ("rel", "wit", "lark", "tern", "dock", "chat"),
    TRAITS, draw, ("cap",))
