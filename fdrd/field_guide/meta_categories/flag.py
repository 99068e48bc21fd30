"""Flags, blowing from a pole."""

from fdrd.field_guide.chance import sine
from fdrd.field_guide.outline import Point, ellipse, pierced, polygon, star, stroke
from fdrd.field_guide.raster import Floats
from fdrd.field_guide.sketch import COLORS, Sketch
from fdrd.field_guide.traits import Look, MetaCategory, Signature, Trait, Value, colors, one_of

# fmt: off

CLOTH = "red orange yellow green teal blue purple pink black"

TRAITS = (
    Trait("color", "color", "genus", colors(CLOTH, "[{}]"), slot="adjective", legible=0),
    Trait("cut", "shape", "genus", one_of(
        square="a [rectangular] shape / [square-cut] cloth",
        swallow="a [swallow-tailed] end / a [notched] end",
        pennant="a [triangular] shape / a [pennant] shape")),
    Trait("layout", "pattern", "genus", one_of(plain="a [plain] field",
        levels="[horizontal stripes] / [level stripes]",
        uprights="[vertical stripes] / [upright stripes]", cross="a [cross] / a [wide cross]",
        wedge="a [triangle at the pole] / a [wedge beside the pole]")),
    Trait("second", "color", "species",
        colors("white black yellow blue", "[{}] as its second colour"), unless=("layout", ("plain",))),
    Trait("emblem", "part", "species", one_of(none="[no emblem]",
        disc="a [disc] in the middle / a [round emblem]",
        star="a [star] in the middle / a [star emblem]",
        diamond="a [diamond] in the middle / a [diamond emblem]",
        crescent="a [crescent] in the middle / a [crescent emblem]")),
    Trait("sign", "color", "species", colors("white black yellow red", "a [{}] emblem"), legible=50,
        unless=("emblem", ("none",))),
    Trait("pole", "color", "individual", one_of(white="a [white] pole",
        brown="a [brown] pole / a [wooden|material] pole", black="a [black] pole"), legible=50),
    Trait("wear", "part", "individual", one_of(none="",
        hole="a [hole] in the cloth / a [torn hole]", patch="a [sewn patch] / a [mended patch]",
        ribbon="a [ribbon] at the pole top / a [red ribbon] on the pole"), legible=60),
    Trait("pose", "pose", "image", one_of(taut="[stretched flat] / [hardly rippling]",
        rippling="[rippling strongly] / [waving in deep folds]"), slot="doing"),
    Trait("viewpoint", "viewpoint", "image", (
        Value("right", ("[blowing to the right]", "[streaming right]")),
        Value("left", ("[blowing to the left]", "[streaming left]"), mirror=True),
    ), slot="doing", legible=0),
)


def fits(signature: Signature) -> bool:
    """Require an emblem that stands out from the second color, if there is one."""
    same = signature["sign"] == signature["second"]
    return not same or signature["emblem"] == "none" or signature["layout"] == "plain"


def draw(sketch: Sketch, look: Look) -> None:
    """Draw a flag that blows to the right."""
    cloth = look.color("color")
    second = look.color("second")
    deep = 0.1 if look["pose"] == "rippling" else 0.025

    def wave(outline: Floats) -> Floats:
        """Bend the outline like the cloth: more toward the free end at x = 1."""
        return polygon(*((x, y + deep * (x + 0.8) * sine(int((x + 0.8) * 560))) for x,
            y in outline.tolist()))

    def area(*points: Point) -> Floats:
        """Add enough corners along the sides to bend the polygon."""
        dense: list[Point] = []
        for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
            steps = 1 + int(max(bx - ax, ax - bx) * 8)
            dense += [(ax + (bx - ax) * i / steps, ay + (by - ay) * i / steps)
                for i in range(steps)]
        return wave(polygon(*dense))

    pole = {"white": (236, 234, 226), "brown": (126, 84, 48), "black": (48, 48, 54)}[look["pole"]]
    sketch.body(polygon((-0.88, -0.9), (-0.79, -0.9), (-0.79, 1.05), (-0.88, 1.05)), pole)
    sketch.body(ellipse(-0.835, -0.94, 0.08, 0.08), (226, 184, 70))
    cut: tuple[Point, ...] = {"square": ((-0.8, -0.8), (1.0, -0.8), (1.0, 0.32), (-0.8, 0.32)),
        "swallow": ((-0.8, -0.8), (1.0, -0.8), (0.6, -0.24), (1.0, 0.32), (-0.8, 0.32)),
        "pennant": ((-0.8, -0.8), (1.04, -0.28), (1.04, -0.2), (-0.8, 0.32))}[look["cut"]]
    whole = area(*cut)
    if look["wear"] == "hole":
        x, y = (-0.62, -0.56) if look["cut"] == "pennant" else (0.56, -0.62)
        whole = pierced(whole, wave(polygon((x - 0.16, y), (x - 0.04, y - 0.1),
            (x + 0.02, y - 0.03), (x + 0.17, y - 0.08), (x + 0.08, y + 0.12),
            (x - 0.03, y + 0.06))))
    field = sketch.body(whole, cloth)
    parts = {"levels": [((-0.8, -0.43), (1.1, -0.43), (1.1, -0.05), (-0.8, -0.05))],
        "uprights": [((-0.26, -0.9), (0.26, -0.9), (0.26, 0.5), (-0.26, 0.5))],
        "cross": [((-0.8, -0.36), (1.1, -0.36), (1.1, -0.12), (-0.8, -0.12)),
            ((-0.3, -0.9), (-0.06, -0.9), (-0.06, 0.5), (-0.3, 0.5))],
        "wedge": [((-0.8, -0.82), (-0.02, -0.24), (-0.8, 0.34))], "plain": []}
    sketch.fill_all([area(*part) for part in parts[look["layout"]]], second, inside=field)
    x = {"square": 0.1, "swallow": 0.0, "pennant": -0.3}[look["cut"]]
    if look["layout"] == "cross":
        x = -0.18
    emblems = {"disc": ellipse(x, -0.24, 0.24, 0.24), "star": star(x, -0.24, 0.32, 0.13, 5),
        "diamond": polygon((x, -0.54), (x + 0.27, -0.24), (x, 0.06), (x - 0.27, -0.24)),
        "crescent": crescent(x, -0.24)}
    if look["emblem"] in emblems:
        sketch.fill(wave(emblems[look["emblem"]]), look.color("sign"), inside=field)
    if look["wear"] == "patch":
        px = 0.5 if look["cut"] != "pennant" else -0.68
        sketch.body(wave(polygon((px, -0.04), (px + 0.22, -0.08), (px + 0.24, 0.14),
            (px + 0.02, 0.16))), (164, 150, 128))
    elif look["wear"] == "ribbon":
        sketch.body(stroke((-0.82, -0.86), (-1.02, -0.6), (-0.94, -0.4), start=0.07, end=0.09),
            COLORS["red"])
    for i in range(3):  # folds: light and shade where the cloth turns
        x = -0.5 + 0.58 * i
        sketch.fill(polygon((x, -1.2), (x + 0.2, -1.2), (x + 0.12, 0.8), (x - 0.08, 0.8)),
            (0, 0, 0), inside=field, opacity=34 if deep > 0.05 else 14)
        sketch.fill(polygon((x + 0.24, -1.2), (x + 0.38, -1.2), (x + 0.3, 0.8), (x + 0.16, 0.8)),
            (255, 255, 255), inside=field, opacity=34 if deep > 0.05 else 12)


def crescent(x: float, y: float) -> Floats:
    """Return a crescent that opens to the right."""
    return polygon((x + 0.14, y - 0.27), (x - 0.02, y - 0.29), (x - 0.18, y - 0.2), (x - 0.27, y),
        (x - 0.18, y + 0.2), (x - 0.02, y + 0.29), (x + 0.14, y + 0.27), (x, y + 0.19),
        (x - 0.08, y), (x, y - 0.19))


META_CATEGORY = MetaCategory("flag", "flags", ("mark", "field", "stand", "burg", "shire", "holt"),
    TRAITS, draw, ("second", "sign"), fits)
