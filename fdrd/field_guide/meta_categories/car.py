"""Cars, from the side."""

from __future__ import annotations

from fdrd.field_guide.chance import TURN, cosine, sine
from fdrd.field_guide.outline import ellipse, polygon, smooth, stroke
from fdrd.field_guide.palette import COLOURS, MAIN, shade, stands_out
from fdrd.field_guide.sketch import Sketch
from fdrd.field_guide.traits import (
    SIDEWAYS,
    Look,
    MetaCategory,
    Signature,
    Trait,
    colours,
    one_of,
)

# fmt: off
# (Words and coordinates read better in rows.)

TRAITS = (
    Trait("colour", "colour", "genus", colours(MAIN, "[{}]"), slot="adjective", legible=0),
    Trait("body", "shape", "genus", one_of(
        hatch=("a [short hatchback] body", "a [hatchback] shape"),
        saloon=("a [long saloon] body", "a [three-box] shape"),
        pickup=("an [open load bed]", "a [pickup] body"),
        van=("a [tall van] body", "a [box-like] body"),
    )),
    Trait("wheels", "size", "genus", one_of(
        small=("[small] wheels",), large=("[large] wheels", "[oversized] wheels"),
    )),
    Trait("stripe", "pattern", "species", one_of(
        none=(), one=("a [stripe along the side]", "a [side stripe]"),
        two=("[two|count] [side stripes]", "a [double stripe]"),
        flames=("[flames] behind the front wheel", "[painted flames]"),
        checks=("a [chequered band]", "[checks] along the side"),
    ), legible=50),
    Trait("ink", "colour", "species", one_of(
        white=("[white] trim",), black=("[black] trim",), yellow=("[yellow] trim",),
    ), legible=50, unless=("stripe", ("none",))),
    Trait("roof", "colour", "species", one_of(
        same=(), white=("a [white] roof",), black=("a [black] roof",), red=("a [red] roof",),
    )),
    Trait("hubs", "colour", "species", one_of(
        silver=("[silver] hubcaps",), black=("[black] hubcaps",), red=("[red] hubcaps",),
        yellow=("[yellow] hubcaps",),
    ), legible=60),
    Trait("lamp", "shape", "species", one_of(
        round=("[round] headlamps",), slit=("[narrow] headlamps", "[slit-like] headlamps"),
    ), legible=70),
    Trait("load", "part", "individual", one_of(
        none=(), board=("a [surfboard] on the roof", "a [board] strapped on top"),
        case=("a [suitcase] on the roof", "[luggage] on top"),
        sign=("a [taxi sign] on the roof", "a [small sign] on top"),
    ), legible=60),
    Trait("aerial", "part", "individual", one_of(
        none=(), aerial=("a [pennant] on its aerial", "a [small flag] at the back"),
    ), legible=60),
    Trait("pose", "pose", "image", one_of(
        parked=("[parked level]", "[standing still]"),
        moving=("[driving fast]", "[speeding along]"),
        dark=("[headlights lit]", "[with lit headlights]"),
    ), slot="doing", legible=50),
    SIDEWAYS,
)


def sensible(signature: Signature) -> bool:
    """Trim and roof must stand out, and there is no trim without stripes."""
    if signature["stripe"] == "none" and signature["ink"] != "white":
        return False
    return all(stands_out(signature[mark], signature["colour"]) for mark in ("ink", "roof"))


def draw(sketch: Sketch, look: Look) -> None:
    """Draw a car that faces right."""
    coat = look.colour("colour")
    ink = look.colour("ink")
    radius = 0.27 if look["wheels"] == "large" else 0.18
    ground = 0.6
    sill = ground - radius * 0.75
    roof_colour = coat if look["roof"] == "same" else look.colour("roof")
    glass = (120, 168, 196)

    if look["pose"] == "moving":
        for y, length in ((-0.16, 0.24), (0.06, 0.36), (0.28, 0.28)):
            sketch.fill(stroke((-1.0, y), (-1.0 - length, y), start=0.05, end=0.02),
                (250, 250, 250), opacity=110)
    if look["aerial"] == "aerial":
        sketch.fill(stroke((-0.84, -0.02), (-0.9, -0.66), start=0.03, end=0.025), (50, 50, 56))
        sketch.body(polygon((-0.9, -0.66), (-0.64, -0.56), (-0.89, -0.46)), COLOURS["orange"])

    cabin, windows, top = {"hatch": (polygon((-0.84, -0.02), (-0.72, -0.44), (0.22, -0.46),
        (0.52, -0.04)), (((-0.66, -0.06), (-0.58, -0.36), (-0.22, -0.38), (-0.22, -0.06)),
        ((-0.14, -0.06), (-0.14, -0.38), (0.17, -0.38), (0.4, -0.06))), (-0.25, -0.46)),
        "saloon": (polygon((-0.62, -0.02), (-0.4, -0.4), (0.18, -0.42), (0.46, -0.02)),
        (((-0.46, -0.05), (-0.33, -0.33), (-0.12, -0.34), (-0.12, -0.05)),
        ((-0.05, -0.05), (-0.05, -0.34), (0.14, -0.34), (0.34, -0.05))), (-0.1, -0.41)),
        "pickup": (polygon((-0.16, -0.02), (-0.14, -0.44), (0.28, -0.46), (0.54, -0.02)),
        (((-0.07, -0.05), (-0.06, -0.37), (0.24, -0.38), (0.42, -0.05)),), (0.07, -0.45)),
        "van": (polygon((-0.94, -0.02), (-0.92, -0.62), (0.38, -0.64), (0.66, -0.04)),
        (((0.08, -0.08), (0.08, -0.5), (0.34, -0.5), (0.53, -0.08)),),
        (-0.26, -0.63))}[look["body"]]
    if look["load"] == "board":
        sketch.body(ellipse(top[0], top[1] - 0.12, 0.56, 0.075, -12), (250, 214, 120))
        sketch.fill(stroke((top[0] - 0.5, top[1] - 0.1), (top[0] + 0.5, top[1] - 0.14), start=0.03,
            end=0.03), COLOURS["teal"])
    elif look["load"] == "case":
        sketch.body(polygon((top[0] - 0.26, top[1] - 0.24), (top[0] + 0.22, top[1] - 0.24),
            (top[0] + 0.22, top[1] + 0.02), (top[0] - 0.26, top[1] + 0.02)), (140, 88, 48))
        for x in (-0.14, 0.1):
            sketch.fill(stroke((top[0] + x, top[1] - 0.24), (top[0] + x, top[1]), start=0.05,
                end=0.05), (230, 206, 160))
    elif look["load"] == "sign":
        sketch.body(polygon((top[0] - 0.15, top[1] - 0.18), (top[0] + 0.15, top[1] - 0.18),
            (top[0] + 0.19, top[1] + 0.02), (top[0] - 0.19, top[1] + 0.02)), (252, 232, 96))
        for x in (-0.08, 0.0, 0.08):
            sketch.fill(stroke((top[0] + x, top[1] - 0.13), (top[0] + x, top[1] - 0.03),
                start=0.035, end=0.035), (40, 40, 46))

    house = sketch.body(cabin, coat)
    if look["roof"] != "same":
        sketch.fill(polygon((-2.0, -1.0), (2.0, -1.0), (2.0, top[1] + 0.12), (-2.0, top[1] + 0.12)),
            roof_colour, inside=house)
    for window in windows:
        pane = sketch.fill(polygon(*window), glass)
        x, y = window[0]
        sketch.fill(polygon((x + 0.02, y), (x + 0.22, y - 0.4), (x + 0.32, y - 0.4), (x + 0.12, y)),
            (196, 222, 236), inside=pane)

    nose = {"hatch": 0.92, "saloon": 1.0, "pickup": 1.0, "van": 0.98}[look["body"]]
    hood = 0.0 if look["body"] != "van" else -0.06
    shell = sketch.body(smooth((-0.97, hood + 0.02), (-0.6, hood - 0.05), (0.5, hood - 0.05),
        (nose - 0.06, hood + 0.06), (nose, sill - 0.1), (nose - 0.06, sill), (-0.94, sill),
        (-0.99, sill - 0.12), steps=4), coat)
    sketch.fill(polygon((-2.0, sill - 0.1), (2.0, sill - 0.1), (2.0, 2.0), (-2.0, 2.0)),
        shade(coat, 64), inside=shell)
    # The cabin grows out of the body: no contour between them.
    if look["body"] == "pickup":
        sketch.fill(polygon((-0.9, 0.0), (-0.2, 0.0), (-0.2, 0.07), (-0.9, 0.07)), shade(coat, 40),
            inside=shell)
    middle = (hood + sill) / 2 + 0.02
    if look["stripe"] in ("one", "two"):
        for y in (middle,) if look["stripe"] == "one" else (middle - 0.07, middle + 0.07):
            sketch.fill(stroke((-1.1, y), (1.1, y), start=0.1 if look["stripe"] == "one" else 0.065,
                end=0.1 if look["stripe"] == "one" else 0.065), ink, inside=shell)
    elif look["stripe"] == "checks":
        for i in range(18):
            y = middle + (0.045 if i % 2 else -0.045)
            x = -0.94 + 0.11 * i
            sketch.fill(polygon((x, y - 0.045), (x + 0.11, y - 0.045), (x + 0.11, y + 0.045),
                (x, y + 0.045)), ink, inside=shell)
    elif look["stripe"] == "flames":
        sketch.fill(polygon((0.9, middle - 0.12), (0.3, middle - 0.12), (-0.2, middle - 0.02),
            (0.16, middle - 0.02), (-0.36, middle + 0.1), (0.1, middle + 0.08),
            (-0.1, middle + 0.2), (0.9, middle + 0.2)), ink, inside=shell)
    for x in {"hatch": (-0.18,), "saloon": (-0.46, -0.09), "pickup": (-0.12,),
        "van": (0.03,)}[look["body"]]:
        sketch.fill(stroke((x, hood), (x, sill - 0.04), start=0.022, end=0.022), shade(coat, 45),
            inside=shell)
        sketch.fill(stroke((x + 0.06, hood + 0.09), (x + 0.16, hood + 0.09), start=0.04, end=0.04),
            shade(coat, 45))
    lx, ly = nose - 0.1, hood + 0.14
    lit = look["pose"] == "dark"
    if lit:
        sketch.fill(polygon((lx, ly - 0.04), (lx + 0.5, ly - 0.2), (lx + 0.5, ly + 0.3),
            (lx, ly + 0.06)), (255, 244, 170), opacity=84)
    lamp = (255, 250, 206) if lit else (226, 230, 220)
    sketch.body(ellipse(lx, ly, 0.085, 0.085, 0, 16) if look["lamp"] == "round"
        else ellipse(lx - 0.02, ly, 0.12, 0.035, 24, 16), lamp)
    sketch.fill(ellipse(-0.94, hood + 0.14, 0.05, 0.07, 0, 12), (206, 40, 40))
    hub = (196, 200, 206) if look["hubs"] == "silver" else look.colour("hubs")
    if look["hubs"] == "black":
        hub = (70, 70, 76)
    for x in (-0.58, 0.56):
        y = ground - radius
        sketch.body(ellipse(x, y + radius * 0.1, radius, radius), (34, 34, 38))
        sketch.fill(ellipse(x, y + radius * 0.1, radius * 0.62, radius * 0.62, 0, 18), hub)
        for i in range(5):
            angle = i * TURN // 5
            sketch.fill(stroke((x, y + radius * 0.1),
                (x + radius * 0.56 * cosine(angle), y + radius * 0.1 + radius * 0.56 * sine(angle)),
                start=0.03, end=0.03), shade(hub, 55))


META_CATEGORY = MetaCategory("car", "cars", ("ado", "ita", "ora", "ero", "ina", "eon"), TRAITS,
    draw, sensible)
