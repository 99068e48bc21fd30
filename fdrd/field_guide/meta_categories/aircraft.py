"""Aircraft, from above."""

from fdrd.field_guide.outline import ellipse, on_side, polygon, smooth, star, stroke
from fdrd.field_guide.sketch import COLORS, MAIN, Sketch, shade
from fdrd.field_guide.traits import Look, MetaCategory, Trait, colors, one_of, pointing

# fmt: off

TRAITS = (
    Trait("color", "color", "genus", colors(MAIN, "[{}]"), slot="adjective", legible=0),
    Trait("wings", "shape", "genus", one_of(straight="[straight] wings",
        swept="[swept-back] wings / [swept] wings", delta="[triangular] wings / a [delta] wing")),
    Trait("tail", "shape", "genus", one_of(small="a [small] tailplane",
        wide="a [wide] tailplane / a [broad] tailplane", twin="[twin] tail fins / a [forked] tail"),
        legible=50),
    Trait("engines", "count", "species", one_of(
        nose="a [propeller on its nose|part] / a [nose propeller|part]",
        two="[two] engines / [two] wing engines", four="[four] engines / [four] wing engines"),
        legible=50),
    Trait("emblem", "pattern", "species", one_of(none="[unmarked] wings",
        disc="[discs] on the wings / [round marks] on both wings", star="[stars] on the wings",
        chevron="[chevrons] on the wings / [V marks] on the wings",
        band="a [band across each wing] / [banded] wings"), legible=50),
    Trait("ink", "color", "species", colors("white black yellow", "[{}] markings"),
        unless=("emblem", ("none",))),
    Trait("stripe", "pattern", "species", one_of(none="",
        one="a [white|color] [stripe along its back] / a [pale back stripe]"), legible=50),
    Trait("tips", "color", "species", colors("none red black yellow", "[{}] wing tips")),
    Trait("extra", "part", "individual", one_of(none="",
        smoke="a [smoke trail] / [smoke] behind it",
        lights="[landing lights] on / [lit lamps] on its wings",
        patch="a [repair patch] on one wing / a [grey patch] on one wing"), legible=60),
    Trait("pose", "pose", "image", one_of(level="[flying level] / [wings level]",
        banking="[banking steeply] / [in a steep turn]"), slot="doing"),
    pointing("its nose"),
)


def draw(sketch: Sketch, look: Look) -> None:
    """Draw an aircraft that flies upward."""
    coat = look.color("color")
    ink = look.color("ink")
    flat = 0.66 if look["pose"] == "banking" else 1.0
    if look["extra"] == "smoke":
        for i in range(5):
            sketch.fill(ellipse(0.04 * (i % 2), 0.86 + 0.12 * i, 0.07 + 0.03 * i, 0.1),
                (236, 236, 238), opacity=104 - 14 * i)

    tail = {"small": polygon((0.0, 0.6), (0.24 * flat, 0.76), (0.24 * flat, 0.86), (0.0, 0.84)),
        "wide": polygon((0.0, 0.56), (0.46 * flat, 0.7), (0.46 * flat, 0.86), (0.0, 0.82)),
        "twin": polygon((0.0, 0.5), (0.34 * flat, 0.94), (0.24 * flat, 1.0),
        (0.0, 0.72))}[look["tail"]]
    sketch.both(tail, shade(coat, 82))
    wing, tip, (ex, ey), sweep = {"straight": (polygon((0.0, -0.26), (1.0 * flat, -0.18),
        (1.0 * flat, 0.06), (0.0, 0.16)), 0.82, (0.58, -0.06), 0.0),
        "swept": (polygon((0.0, -0.3), (1.0 * flat, 0.28), (0.98 * flat, 0.48), (0.0, 0.18)), 0.8,
        (0.52, 0.16), 0.5), "delta": (polygon((0.0, -0.56), (0.9 * flat, 0.44), (0.86 * flat, 0.58),
        (0.0, 0.5)), 0.68, (0.42, 0.2), 0.7)}[look["wings"]]
    if look["engines"] in ("two", "four"):
        places = (0.36,) if look["engines"] == "two" else (0.3, 0.6)
        for x in places:
            y = -0.26 + sweep * x + (0.06 if look["wings"] == "delta" else 0.0)
            sketch.both(smooth(((x - 0.07) * flat, y - 0.12), ((x + 0.07) * flat, y - 0.12),
                ((x + 0.07) * flat, y + 0.2), ((x - 0.07) * flat, y + 0.2)), (92, 96, 104))
    for side, half in zip((1, -1), sketch.both(wing, coat), strict=True):
        if look["tips"] != "none":
            sketch.fill(on_side(polygon((tip * flat, -1.0), (2.0, -1.0), (2.0, 1.0),
                (tip * flat, 1.0)), side), COLORS[look["tips"]], inside=half)
        x = ex * flat
        emblems = {"disc": ellipse(x, ey, 0.13 * flat, 0.13), "star": star(x, ey, 0.18, 0.07, 5),
            "chevron": stroke((x - 0.16 * flat, ey + 0.14), (x, ey - 0.12),
                (x + 0.16 * flat, ey + 0.14), start=0.09, end=0.09),
            "band": polygon((x - 0.07, -1.0), (x + 0.07, -1.0), (x + 0.07, 1.0), (x - 0.07, 1.0))}
        if look["emblem"] in emblems:
            sketch.fill(on_side(emblems[look["emblem"]], side), ink, inside=half)
        if look["extra"] == "lights":
            sketch.fill(on_side(ellipse(0.24 * flat, -0.2 + sweep * 0.24, 0.15, 0.15), side),
                (255, 246, 190), opacity=76)
            sketch.fill(on_side(ellipse(0.24 * flat, -0.2 + sweep * 0.24, 0.075, 0.075, 0, 12),
                side), (255, 252, 226))
    if look["extra"] == "patch":
        y = 0.02 + sweep * 0.26
        sketch.body(polygon((-0.32 * flat, y - 0.1), (-0.14 * flat, y - 0.12),
            (-0.14 * flat, y + 0.04), (-0.32 * flat, y + 0.06)), (150, 154, 160))
    hull = sketch.body(smooth((0.0, -0.98), (0.11, -0.74), (0.12, -0.1), (0.09, 0.5), (0.03, 0.92),
        (-0.03, 0.92), (-0.09, 0.5), (-0.12, -0.1), (-0.11, -0.74)), shade(coat, 116))
    if look["stripe"] == "one":
        sketch.fill(stroke((0.0, -0.44), (0.0, 0.94), start=0.075, end=0.06), COLORS["white"],
            inside=hull)
    sketch.body(smooth((0.0, -0.74), (0.07, -0.6), (0.05, -0.46), (-0.05, -0.46), (-0.07, -0.6)),
        (70, 110, 150))
    sketch.fill(ellipse(-0.02, -0.64, 0.02, 0.05, 0, 10), (220, 236, 246))
    if look["tail"] != "twin":
        sketch.body(stroke((0.0, 0.6), (0.0, 0.96), start=0.04, end=0.06), shade(coat, 62))
    if look["engines"] == "nose":
        sketch.fill(ellipse(0.0, -0.98, 0.3, 0.05), (230, 230, 226), opacity=110)
        sketch.body(stroke((-0.28, -0.99), (0.28, -0.97), start=0.05, end=0.05), (60, 52, 48))
        sketch.body(ellipse(0.0, -0.98, 0.06, 0.07, 0, 14), (216, 60, 50))


META_CATEGORY = MetaCategory("aircraft", "aircraft",
    ("jet", "dart", "skimmer", "kite", "liner", "vane"), TRAITS, draw, ("tips", "ink"))
