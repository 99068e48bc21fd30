"""Leaves, laid flat."""

from itertools import pairwise

from fdrd.field_guide.chance import TURN, cosine, sine
from fdrd.field_guide.outline import curve, ellipse, on_side, pierced, polygon, smooth, stroke
from fdrd.field_guide.sketch import COLORS, Sketch, dewdrop, shade
from fdrd.field_guide.traits import Look, MetaCategory, Trait, colors, one_of, pointing

# fmt: off

BLADES = "green yellow red orange brown purple teal pink"

TRAITS = (
    Trait("color", "color", "genus", colors(BLADES, "[{}]"), slot="adjective", legible=0),
    Trait("outline", "shape", "genus", one_of(oval="an [oval] blade",
        lance="a [narrow] blade / a [lance-shaped] blade", heart="a [heart-shaped] blade",
        lobed="a [lobed] blade / a [hand-shaped] blade", diamond="a [diamond-shaped] blade")),
    Trait("margin", "shape", "genus", one_of(smooth="a [smooth] edge",
        toothed="a [toothed] edge / a [saw-toothed] edge"), legible=50),
    Trait("veins", "color", "species", colors("dark white red yellow", "[{}] veins")),
    Trait("pattern", "pattern", "species", one_of(plain="",
        spotted="[dark spots] / a [spotted] surface", pale="a [pale rim] / a [pale margin]",
        half="a [dark tip] / a [darkened tip]",
        blotch="a [pale centre] / a [pale blotch down the middle]")),
    Trait("stalk", "color", "species", colors("green red black white", "a [{}] stalk")),
    Trait("stem", "size", "species", one_of(short="a [short] stalk", long="a [long] stalk")),
    Trait("holes", "count", "individual", one_of(none="", one="[one] hole / a [single] insect hole",
        three="[three] holes / [three] insect holes"), legible=60),
    Trait("guest", "part", "individual", one_of(none="",
        drop="a [dewdrop] on it / a [drop of water] on it",
        ladybird="a [ladybird] on it / a [small red beetle] on it",
        snail="a [snail] on it / a [small snail] on it"), legible=60),
    Trait("pose", "pose", "image", one_of(flat="[lying flat] / [spread flat]",
        folded="[folded lengthwise] / [half folded]"), slot="doing"),
    pointing("its tip"),
)


def _blade(outline: str, teeth: bool) -> tuple[tuple[float, float], ...]:
    """Return the right edge of the blade, from the base (0, 0.6) to the tip (0, -0.96)."""
    edge: tuple[tuple[float, float], ...] = {"oval": ((0.0, 0.6), (0.34, 0.44), (0.5, 0.04),
        (0.4, -0.42), (0.2, -0.76), (0.0, -0.96)), "lance": ((0.0, 0.6), (0.17, 0.4), (0.24, 0.04),
        (0.19, -0.4), (0.1, -0.74), (0.0, -0.98)), "heart": ((0.0, 0.42), (0.3, 0.66), (0.64, 0.42),
        (0.62, 0.0), (0.32, -0.5), (0.0, -0.96)), "lobed": ((0.0, 0.6), (0.4, 0.62), (0.26, 0.36),
        (0.74, 0.2), (0.86, -0.1), (0.36, -0.06), (0.44, -0.62), (0.18, -0.5), (0.0, -0.98)),
        "diamond": ((0.0, 0.6), (0.3, 0.3), (0.62, -0.06), (0.34, -0.5), (0.16, -0.74),
        (0.0, -0.96))}[outline]
    if not teeth:
        return edge
    saw: list[tuple[float, float]] = []
    for (ax, ay), (bx, by) in pairwise(edge):
        for step in range(3):
            t, u = step / 3, (step + 0.7) / 3
            saw += [(ax + (bx - ax) * t, ay + (by - ay) * t),
                (ax + (bx - ax) * u + 0.1, ay + (by - ay) * u + 0.05)]
    return (*saw, edge[-1])


def draw(sketch: Sketch, look: Look) -> None:
    """Draw a leaf that points up."""
    coat = look.color("color")
    veins = shade(coat, 42) if look["veins"] == "dark" else COLORS[look["veins"]]
    teeth = look["margin"] == "toothed"
    narrow = 0.6 if look["pose"] == "folded" else 1.0
    foot = 0.98 if look["stem"] == "long" else 0.74
    sketch.body(curve((0.0, 0.5), (0.03, 0.7), (0.1, foot), start=0.08, end=0.1),
        COLORS[look["stalk"]])

    edge = _blade(look["outline"], teeth)
    right = tuple((x * (0.4 if look["pose"] == "folded" else 1.0), y) for x, y in edge)
    left = tuple((-x, y) for x, y in reversed(edge[1:-1]))
    whole = polygon(*right, *left) if teeth or look["outline"] == "lobed" else smooth(*right, *left,
        steps=4)
    holes = ((-0.11, 0.2, 0.1), (-0.09, -0.42, 0.08),
        (-0.13, -0.1, 0.09))[:{"none": 0, "one": 1, "three": 3}[look["holes"]]]
    blade = sketch.body(pierced(whole, *(ellipse(x, y, radius, radius, 0, 14) for x, y,
        radius in holes)), coat)
    if look["pattern"] == "pale":
        sketch.fill(polygon(*right, *left), shade(coat, 168), inside=blade)
        sketch.fill(whole * (0.78, 0.8) + (0.0, -0.04), coat, inside=blade)
    elif look["pattern"] == "half":
        sketch.fill(ellipse(0.0, -0.86, 0.8, 0.5), shade(coat, 48), inside=blade)
    elif look["pattern"] == "blotch":
        sketch.fill(smooth((0.0, 0.44), (0.17, 0.0), (0.06, -0.6), (-0.06, -0.6), (-0.17, 0.0)),
            shade(coat, 164), inside=blade)
    sketch.fill(polygon((0.0, -1.0), (1.0, -1.0), (1.0, 1.0), (0.0, 1.0)), (0, 0, 0), inside=blade,
        opacity=44 if narrow < 1 else 14)
    for i in range(4):
        y = 0.42 - 0.28 * i
        for side in (1, -1):
            sketch.fill(on_side(curve((0.0, y), (0.2, y - 0.14), (0.5, y - 0.4), start=0.045,
                end=0.02), side), veins, inside=blade)
    sketch.fill(stroke((0.0, 0.6), (0.0, -0.94), start=0.075, end=0.03), veins, inside=blade)
    if look["pattern"] == "spotted":
        for x, y in ((-0.14, 0.3), (0.14, 0.14), (-0.2, -0.02), (0.1, -0.28), (-0.1, -0.4),
            (-0.34, 0.2), (0.3, -0.1), (0.04, -0.62)):
            sketch.fill(ellipse(x * (1.0 if x < 0 or narrow == 1 else 0.45), y, 0.06, 0.06, 0, 10),
                shade(coat, 36), inside=blade)
    if look["guest"] == "drop":
        dewdrop(sketch, 0.06, -0.14)
    elif look["guest"] == "ladybird":
        sketch.body(ellipse(0.06, -0.22, 0.07, 0.06, 0, 14), (30, 28, 30))
        wings = sketch.body(ellipse(0.06, -0.1, 0.13, 0.13), COLORS["red"])
        sketch.fill(stroke((0.06, -0.3), (0.06, 0.1), start=0.03, end=0.03), (30, 28, 30),
            inside=wings)
        for x, y in ((0.0, -0.14), (0.12, -0.14), (0.01, -0.03), (0.11, -0.03)):
            sketch.fill(ellipse(x, y, 0.028, 0.028, 0, 8), (30, 28, 30), inside=wings)
    elif look["guest"] == "snail":
        sketch.body(curve((-0.08, -0.02), (0.08, 0.0), (0.24, -0.12), start=0.07, end=0.07),
            (196, 176, 140))
        sketch.body(ellipse(0.04, -0.1, 0.13, 0.12), (172, 122, 70))
        for i in range(5):
            angle = i * TURN // 5
            sketch.fill(ellipse(0.04 + 0.07 * cosine(angle), -0.1 + 0.06 * sine(angle), 0.022,
                0.022, 0, 8), (110, 72, 40))


META_CATEGORY = MetaCategory("leaf", "leaves", ("elm", "holm", "osier", "beam", "thorn", "alder"),
    TRAITS, draw, ("veins",))
