"""Cars, from the side."""

from dataclasses import dataclass

from fdrd.field_guide.chance import TURN, cosine, sine
from fdrd.field_guide.outline import Point, at, ellipse, polygon, smooth, stroke
from fdrd.field_guide.raster import Color, Floats
from fdrd.field_guide.sketch import COLORS, MAIN, Sketch, shade
from fdrd.field_guide.traits import SIDEWAYS, Look, MetaCategory, Trait, colors, one_of

# fmt: off

TRAITS = (
    Trait("color", "color", "genus", colors(MAIN, "[{}]"), slot="adjective", legible=0),
    Trait("body", "shape", "genus", one_of(hatch="a [short hatchback] body / a [hatchback] shape",
        saloon="a [long saloon] body / a [three-box] shape",
        pickup="an [open load bed] / a [pickup] body",
        van="a [tall van] body / a [box-like] body")),
    Trait("wheels", "size", "genus", one_of(small="[small] wheels",
        large="[large] wheels / [oversized] wheels")),
    Trait("stripe", "pattern", "species", one_of(none="",
        one="a [stripe along the side] / a [side stripe]",
        two="[two|count] [side stripes] / a [double stripe]",
        flames="[flames] behind the front wheel / [painted flames]",
        checks="a [chequered band] / [checks] along the side"), legible=50),
    Trait("ink", "color", "species", colors("white black yellow", "[{}] trim"), legible=50,
        unless=("stripe", ("none",))),
    Trait("roof", "color", "species", colors("same white black red", "a [{}] roof")),
    Trait("hubs", "color", "species", colors("silver black red yellow", "[{}] hubcaps"),
        legible=60),
    Trait("lamp", "shape", "species", one_of(round="[round] headlamps",
        slit="[narrow] headlamps / [slit-like] headlamps"), legible=70),
    Trait("load", "part", "individual", one_of(none="",
        board="a [surfboard] on the roof / a [board] strapped on top",
        case="a [suitcase] on the roof / [luggage] on top",
        sign="a [taxi sign] on the roof / a [small sign] on top"), legible=60),
    Trait("aerial", "part", "individual", one_of(none="",
        aerial="a [pennant] on its aerial / a [small flag] at the back"), legible=60),
    Trait("pose", "pose", "image", one_of(parked="[parked level] / [standing still]",
        moving="[driving fast] / [speeding along]",
        dark="[headlights lit] / [with lit headlights]"), slot="doing", legible=50),
    SIDEWAYS,
)


@dataclass(frozen=True, slots=True)
class _Cabin:
    """What rises above the body of a car, and where the body ends at the front."""

    outline: tuple[Point, ...]
    windows: tuple[tuple[Point, ...], ...]
    top: Point  # the middle of the roof
    doors: tuple[float, ...]  # x of their joints
    nose: float


CABINS = {
    "hatch": _Cabin(
        ((-0.84, -0.02), (-0.72, -0.44), (0.22, -0.46), (0.52, -0.04)),
        (((-0.66, -0.06), (-0.58, -0.36), (-0.22, -0.38), (-0.22, -0.06)),
            ((-0.14, -0.06), (-0.14, -0.38), (0.17, -0.38), (0.4, -0.06))),
        top=(-0.25, -0.46), doors=(-0.18,), nose=0.92,
    ),
    "saloon": _Cabin(
        ((-0.62, -0.02), (-0.4, -0.4), (0.18, -0.42), (0.46, -0.02)),
        (((-0.46, -0.05), (-0.33, -0.33), (-0.12, -0.34), (-0.12, -0.05)),
            ((-0.05, -0.05), (-0.05, -0.34), (0.14, -0.34), (0.34, -0.05))),
        top=(-0.1, -0.41), doors=(-0.46, -0.09), nose=1.0,
    ),
    "pickup": _Cabin(
        ((-0.16, -0.02), (-0.14, -0.44), (0.28, -0.46), (0.54, -0.02)),
        (((-0.07, -0.05), (-0.06, -0.37), (0.24, -0.38), (0.42, -0.05)),),
        top=(0.07, -0.45), doors=(-0.12,), nose=1.0,
    ),
    "van": _Cabin(
        ((-0.94, -0.02), (-0.92, -0.62), (0.38, -0.64), (0.66, -0.04)),
        (((0.08, -0.08), (0.08, -0.5), (0.34, -0.5), (0.53, -0.08)),),
        top=(-0.26, -0.63), doors=(0.03,), nose=0.98,
    ),
}
GROUND = 0.6


def draw(sketch: Sketch, look: Look) -> None:
    """Draw a car that faces right."""
    coat = look.color("color")
    cabin = CABINS[look["body"]]
    radius = 0.27 if look["wheels"] == "large" else 0.18
    sill = GROUND - radius * 0.75
    hood = -0.06 if look["body"] == "van" else 0.0
    if look["pose"] == "moving":
        for y, length in ((-0.16, 0.24), (0.06, 0.36), (0.28, 0.28)):
            sketch.fill(stroke((-1.0, y), (-1.0 - length, y), start=0.05, end=0.02),
                (250, 250, 250), opacity=110)
    if look["aerial"] == "aerial":
        sketch.fill(stroke((-0.84, -0.02), (-0.9, -0.66), start=0.03, end=0.025), (50, 50, 56))
        sketch.body(polygon((-0.9, -0.66), (-0.64, -0.56), (-0.89, -0.46)), COLORS["orange"])
    _load(sketch, look, cabin.top)
    _house(sketch, look, cabin, coat)
    shell = sketch.body(smooth((-0.97, hood + 0.02), (-0.6, hood - 0.05), (0.5, hood - 0.05),
        (cabin.nose - 0.06, hood + 0.06), (cabin.nose, sill - 0.1), (cabin.nose - 0.06, sill),
        (-0.94, sill), (-0.99, sill - 0.12), steps=4), coat)
    sketch.fill(polygon((-2.0, sill - 0.1), (2.0, sill - 0.1), (2.0, 2.0), (-2.0, 2.0)),
        shade(coat, 64), inside=shell)
    if look["body"] == "pickup":
        sketch.fill(polygon((-0.9, 0.0), (-0.2, 0.0), (-0.2, 0.07), (-0.9, 0.07)), shade(coat, 40),
            inside=shell)
    _stripe(sketch, look, shell, (hood + sill) / 2 + 0.02)
    for x in cabin.doors:
        sketch.fill(stroke((x, hood), (x, sill - 0.04), start=0.022, end=0.022), shade(coat, 45),
            inside=shell)
        sketch.fill(stroke((x + 0.06, hood + 0.09), (x + 0.16, hood + 0.09), start=0.04, end=0.04),
            shade(coat, 45))
    _lamps(sketch, look, cabin.nose - 0.1, hood + 0.14)
    for x in (-0.58, 0.56):
        _wheel(sketch, look, x, radius)


def _load(sketch: Sketch, look: Look, top: Point) -> None:
    x, y = top
    if look["load"] == "board":
        sketch.body(ellipse(x, y - 0.12, 0.56, 0.075, -12), (250, 214, 120))
        sketch.fill(stroke((x - 0.5, y - 0.1), (x + 0.5, y - 0.14), start=0.03, end=0.03),
            COLORS["teal"])
    elif look["load"] == "case":
        sketch.body(polygon((x - 0.26, y - 0.24), (x + 0.22, y - 0.24), (x + 0.22, y + 0.02),
            (x - 0.26, y + 0.02)), (140, 88, 48))
        for strap in (x - 0.14, x + 0.1):
            sketch.fill(stroke((strap, y - 0.24), (strap, y), start=0.05, end=0.05), (230, 206, 160))
    elif look["load"] == "sign":
        sketch.body(polygon((x - 0.15, y - 0.18), (x + 0.15, y - 0.18), (x + 0.19, y + 0.02),
            (x - 0.19, y + 0.02)), (252, 232, 96))
        for letter in (x - 0.08, x, x + 0.08):
            sketch.fill(stroke((letter, y - 0.13), (letter, y - 0.03), start=0.035, end=0.035),
                (40, 40, 46))


def _house(sketch: Sketch, look: Look, cabin: _Cabin, coat: Color) -> None:
    house = sketch.body(polygon(*cabin.outline), coat)
    if look["roof"] != "same":
        edge = cabin.top[1] + 0.12
        sketch.fill(polygon((-2.0, -1.0), (2.0, -1.0), (2.0, edge), (-2.0, edge)),
            look.color("roof"), inside=house)
    for window in cabin.windows:
        pane = sketch.fill(polygon(*window), (120, 168, 196))
        x, y = window[0]
        sketch.fill(polygon((x + 0.02, y), (x + 0.22, y - 0.4), (x + 0.32, y - 0.4), (x + 0.12, y)),
            (196, 222, 236), inside=pane)


def _stripe(sketch: Sketch, look: Look, shell: int, y: float) -> None:
    marks: list[Floats] = []
    if look["stripe"] == "one":
        marks = [stroke((-1.1, y), (1.1, y), start=0.1, end=0.1)]
    elif look["stripe"] == "two":
        marks = [stroke((-1.1, v), (1.1, v), start=0.065, end=0.065) for v in (y - 0.07, y + 0.07)]
    elif look["stripe"] == "checks":
        square = polygon((0.0, -0.045), (0.11, -0.045), (0.11, 0.045), (0.0, 0.045))
        marks = [at(square, -0.94 + 0.11 * i, y + (0.045 if i % 2 else -0.045)) for i in range(18)]
    elif look["stripe"] == "flames":
        marks = [polygon((0.9, y - 0.12), (0.3, y - 0.12), (-0.2, y - 0.02), (0.16, y - 0.02),
            (-0.36, y + 0.1), (0.1, y + 0.08), (-0.1, y + 0.2), (0.9, y + 0.2))]
    sketch.fill_all(marks, look.color("ink"), inside=shell)


def _lamps(sketch: Sketch, look: Look, x: float, y: float) -> None:
    lit = look["pose"] == "dark"
    if lit:
        sketch.fill(polygon((x, y - 0.04), (x + 0.5, y - 0.2), (x + 0.5, y + 0.3), (x, y + 0.06)),
            (255, 244, 170), opacity=84)
    glass = ellipse(x, y, 0.085, 0.085, 0, 16)
    if look["lamp"] == "slit":
        glass = ellipse(x - 0.02, y, 0.12, 0.035, 24, 16)
    sketch.body(glass, (255, 250, 206) if lit else (226, 230, 220))
    sketch.fill(ellipse(-0.94, y, 0.05, 0.07, 0, 12), (206, 40, 40))


def _wheel(sketch: Sketch, look: Look, x: float, radius: float) -> None:
    hub = {"silver": (196, 200, 206), "black": (70, 70, 76)}.get(look["hubs"])
    hub = hub or look.color("hubs")
    y = GROUND - radius * 0.9
    sketch.body(ellipse(x, y, radius, radius), (34, 34, 38))
    sketch.fill(ellipse(x, y, radius * 0.62, radius * 0.62, 0, 18), hub)
    for i in range(5):
        angle = i * TURN // 5
        end = (x + radius * 0.56 * cosine(angle), y + radius * 0.56 * sine(angle))
        sketch.fill(stroke((x, y), end, start=0.03, end=0.03), shade(hub, 55))


META_CATEGORY = MetaCategory("car", "cars", ("ado", "ita", "ora", "ero", "ina", "eon"), TRAITS,
    draw, ("ink", "roof"))
