"""Beetles, from above."""

from fdrd.field_guide.outline import curve, ellipse, on_side, polygon, smooth, stroke, turned
from fdrd.field_guide.raster import Floats
from fdrd.field_guide.sketch import COLORS, MAIN, Sketch, dewdrop, shade
from fdrd.field_guide.traits import Look, MetaCategory, Trait, colors, one_of, pointing

# fmt: off

TRAITS = (
    Trait("color", "color", "genus", colors(MAIN, "[{}]"), slot="adjective", legible=0),
    Trait("shape", "shape", "genus", one_of(round="a [round] body / a [dome-shaped] body",
        oval="an [oval] body", long="a [long narrow] body / a [slender] body")),
    Trait("head", "part", "genus", one_of(plain="", horn="a [horn] on its head / a [single horn]",
        jaws="[large jaws] / [antler-like jaws]")),
    Trait("spots", "pattern", "species", one_of(plain="[unmarked wing cases] / [plain wing cases]",
        two="[two|count] [spots] / a [pair of spots]", six="[six|count] [spots]",
        stripes="[lengthwise stripes] / [striped wing cases]",
        band="a [cross band] / a [band across the back]")),
    Trait("ink", "color", "species", colors("black white yellow red", "[{}] markings"),
        unless=("spots", ("plain",))),
    Trait("shield", "color", "species",
        colors("same black white yellow", "a [{}] neck shield", "a [{}] collar")),
    Trait("legs", "color", "species", colors("black red yellow", "[{}] legs"), legible=60),
    Trait("feelers", "size", "species", one_of(short="[short] antennae",
        long="[long] antennae / [very long] antennae"), legible=60),
    Trait("dirt", "part", "individual", one_of(none="",
        drop="a [dewdrop] on its back / a [drop of water] on its back",
        leaf="a [scrap of leaf] on its back / a [bit of green leaf] on its back"), legible=60),
    Trait("pose", "pose", "image", one_of(closed="[wing cases closed] / [with folded wings]",
        open="[wing cases open] / [spreading its wings]"), slot="doing"),
    pointing("its head"),
)


def draw(sketch: Sketch, look: Look) -> None:
    """Draw a beetle that faces up."""
    coat = look.color("color")
    ink = look.color("ink")
    shield = shade(coat, 70) if look["shield"] == "same" else look.color("shield")
    half, top, low = {"round": (0.56, -0.2, 0.82), "oval": (0.44, -0.24, 0.88),
        "long": (0.29, -0.3, 0.96)}[look["shape"]]
    middle = (top + low) / 2
    _limbs(sketch, look, half)
    if look["head"] == "jaws":
        sketch.both(smooth((0.06, -0.66), (0.26, -0.78), (0.22, -1.04), (0.06, -0.98),
            (0.13, -0.86), (0.02, -0.76)), (52, 42, 40))
    sketch.body(ellipse(0, -0.58, 0.2, 0.17), shade(coat, 45))
    if look["head"] == "horn":
        sketch.body(smooth((-0.09, -0.6), (-0.05, -0.86), (0.1, -1.06), (0.08, -0.82),
            (0.09, -0.6)), (58, 46, 42))
    sketch.body(smooth((-half * 0.72, -0.22), (-half * 0.62, -0.42), (0, -0.54),
        (half * 0.62, -0.42), (half * 0.72, -0.22), (0, -0.12)), shield)

    if look["pose"] == "open":
        sketch.both(smooth((0.02, -0.16), (0.5, 0.0), (0.74, 0.5), (0.56, 0.84), (0.2, 0.6)),
            (222, 226, 222))
        for side in (-1, 1):
            sketch.fill(stroke((side * 0.06, -0.1), (side * 0.56, 0.66), start=0.02, end=0.02),
                (150, 156, 160))
        sketch.body(ellipse(0, middle - 0.02, half * 0.46, (low - top) * 0.44), (66, 50, 44))
    turn = -80 if look["pose"] == "open" else 0
    # A wing case swings around the shoulder.
    case = smooth((0.0, top), (half * 0.66, top + 0.04), (half, middle), (half * 0.66, low - 0.16),
        (0.0, low))
    for side in (1, -1):
        def placed(outline: Floats, side: int = side) -> Floats:
            return on_side(turned(outline, turn, 0.04 * half, top), side)

        wing = sketch.body(placed(case), coat)
        spots = {"two": [(half * 0.5, middle - 0.04, 0.17)], "six": [(half * 0.42, top + 0.2, 0.12),
            (half * 0.6, middle + 0.04, 0.12), (half * 0.34, low - 0.26, 0.12)]}
        for x, y, radius in spots.get(look["spots"], []):
            sketch.fill(placed(ellipse(x, y, radius, radius, 0, 16)), ink, inside=wing)
        if look["spots"] == "stripes":
            for x in (0.34, 0.72):
                sketch.fill(placed(stroke((half * x, top - 0.1), (half * x, low), start=0.09,
                    end=0.07)), ink, inside=wing)
        elif look["spots"] == "band":
            sketch.fill(placed(polygon((-0.1, middle - 0.1), (1.0, middle - 0.16),
                (1.0, middle + 0.1), (-0.1, middle + 0.12))), ink, inside=wing)
        sketch.fill(placed(ellipse(half * 0.44, top + 0.2, half * 0.2, 0.09, -100)),
            (255, 255, 255), inside=wing, opacity=52)
    if turn == 0:
        sketch.fill(stroke((0, top), (0, low), start=0.035, end=0.025), shade(coat, 35))
    if look["dirt"] == "drop":
        dewdrop(sketch, 0.1, middle + 0.2)
    elif look["dirt"] == "leaf":
        sketch.body(smooth((-0.2, middle + 0.26), (0.0, middle + 0.06), (0.22, middle + 0.1),
            (0.06, middle + 0.3)), (110, 186, 62))


def _limbs(sketch: Sketch, look: Look, half: float) -> None:
    """Draw legs and antennae; `half` is half the width of the body."""
    legs = COLORS[look["legs"]]
    for y, reach, drop in ((-0.12, 0.42, -0.3), (0.18, 0.5, 0.06), (0.46, 0.44, 0.38)):
        for side in (-1, 1):
            sketch.fill(curve((side * half * 0.6, y),
                (side * (half + reach * 0.5), y + drop * 0.4 - 0.06),
                (side * (half + reach * 0.66), y + drop), start=0.09, end=0.05), legs)
    reach = 1.0 if look["feelers"] == "long" else 0.45
    for side in (-1, 1):
        sketch.fill(curve((side * 0.1, -0.62), (side * (0.16 + 0.34 * reach), -0.78),
            (side * (0.2 + 0.62 * reach), -0.74 + 0.5 * (reach - 0.45)), start=0.045, end=0.035),
            (38, 32, 32))


META_CATEGORY = MetaCategory("beetle", "beetles", ("clock", "bor", "dung", "gar", "rove", "tock"),
    TRAITS, draw, ("ink", "shield"))
