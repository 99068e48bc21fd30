"""Mushrooms, from the side."""

from fdrd.field_guide.outline import curve, ellipse, pierced, polygon, smooth, stroke
from fdrd.field_guide.raster import Floats
from fdrd.field_guide.sketch import COLORS, MAIN, Sketch, shade
from fdrd.field_guide.traits import Look, MetaCategory, Trait, colors, leaning, one_of

# fmt: off

TRAITS = (
    Trait("color", "color", "genus", colors(MAIN, "[{}]"), slot="adjective", legible=0),
    Trait("cap", "shape", "genus", one_of(domed="a [domed] cap / a [rounded] cap",
        conical="a [pointed] cap / a [cone-shaped] cap", flat="a [flat] cap / a [wide flat] cap",
        funnel="a [funnel-shaped] cap / an [upturned] cap")),
    Trait("build", "size", "genus", one_of(thick="a [thick] stem / a [stout] stem",
        thin="a [thin] stem / a [slender] stem")),
    Trait("pattern", "pattern", "species", one_of(plain="a [plain] cap",
        spots="[white|color] [spots] on its cap / a [spotted] cap",
        rings="[dark rings] on its cap / a [ringed] cap",
        streaks="[streaks] down its cap / a [streaked] cap",
        rim="a [pale rim] to the cap / a [pale-edged] cap")),
    Trait("stem", "color", "species", colors("white brown yellow black", "a [{}] stem")),
    Trait("skirt", "part", "species", one_of(none="",
        ring="a [ring on its stem] / a [skirt around the stem]"), legible=50),
    Trait("foot", "part", "species", one_of(plain="", bulb="a [swollen base] / a [bulbous foot]",
        cup="a [torn cup at its base] / a [white cup around its foot]"), legible=50),
    Trait("gills", "color", "species", colors("white pink black", "[{}] gills"), legible=60),
    Trait("guest", "part", "individual", one_of(none="",
        slug="a [slug] on its cap / a [small slug] on top",
        bite="a [bite] taken from its cap / a [missing piece] of cap",
        leaf="a [fallen leaf] on its cap / a [leaf] stuck to its cap"), legible=60),
    Trait("young", "count", "individual", one_of(none="",
        one="[one] young one at its side / a [single] small one beside it",
        two="[two] young ones at its foot / [two] small ones beside it"), legible=60),
    Trait("pose", "pose", "image", one_of(level="[seen level] / [seen from the side]",
        below="[seen from slightly below] / [showing its underside]"), slot="doing"),
    leaning(90),
)


def draw(sketch: Sketch, look: Look) -> None:
    """Draw a mushroom that grows upward."""
    _young(sketch, look)
    _stem(sketch, look)
    rise = {"domed": 0.62, "conical": 0.84, "flat": 0.3, "funnel": 0.12}[look["cap"]]
    wide = {"domed": 0.76, "conical": 0.6, "flat": 0.94, "funnel": 0.84}[look["cap"]]
    rim = -0.5 if look["cap"] == "funnel" else -0.14
    _gills(sketch, look, wide, rim)
    edge = _edge(look, wide, rim, rise)
    if look["guest"] == "bite":
        edge = pierced(edge, ellipse(wide * 0.86, rim - 0.06, 0.22, 0.2, 0, 16))
    _pattern(sketch, look, wide, rim, rise, sketch.body(edge, look.color("color")))
    _guest(sketch, look, rim - rise)


def _young(sketch: Sketch, look: Look) -> None:
    places = ((-0.46, 0.72, 1.0), (0.46, 0.8, 0.8))
    for x, y, size in places[: {"none": 0, "one": 1, "two": 2}[look["young"]]]:
        sketch.body(stroke((x, y), (x, 0.98), start=0.09 * size, end=0.12 * size),
            COLORS[look["stem"]])
        sketch.body(smooth((x - 0.17 * size, y), (x - 0.1 * size, y - 0.16 * size),
            (x + 0.1 * size, y - 0.16 * size), (x + 0.17 * size, y), (x, y + 0.04)),
            look.color("color"))


def _stem(sketch: Sketch, look: Look) -> None:
    stem = COLORS[look["stem"]]
    half = 0.2 if look["build"] == "thick" else 0.09
    bulb = ellipse(0.0, 0.84, half + 0.13, 0.17)
    if look["foot"] == "bulb":
        sketch.body(bulb, stem)
    shaft = sketch.body(smooth((-half * 0.8, -0.2), (half * 0.8, -0.2), (half, 0.4),
        (half * 1.2, 0.92), (0.0, 1.0), (-half * 1.2, 0.92), (-half, 0.4)), stem)
    sketch.fill(polygon((half * 0.2, -0.4), (half * 2, -0.4), (half * 2, 1.1), (half * 0.2, 1.1)),
        (0, 0, 0), inside=shaft, opacity=26)
    if look["foot"] == "bulb":
        sketch.fill(bulb, stem)  # hides the contour between bulb and shaft
    elif look["foot"] == "cup":
        sketch.body(polygon((-half - 0.18, 0.6), (-half * 0.4, 0.76), (0.0, 0.64),
            (half * 0.6, 0.78), (half + 0.18, 0.62), (half + 0.14, 0.98), (0.0, 1.04),
            (-half - 0.14, 0.98)), (240, 236, 222))
    if look["skirt"] == "ring":
        sketch.body(smooth((-half * 0.9, 0.14), (half * 0.9, 0.14), (half + 0.17, 0.34), (0.0, 0.3),
            (-half - 0.17, 0.34)), shade(stem, 124) if look["stem"] != "white" else (228, 222, 204))


def _gills(sketch: Sketch, look: Look, wide: float, rim: float) -> None:
    gills = COLORS[look["gills"]]
    if look["cap"] == "funnel":
        under = smooth((-wide, rim), (-0.3, 0.0), (0.0, 0.1), (0.3, 0.0), (wide, rim),
            (0.0, rim + 0.1))
        lines = [stroke((x * 1.3, rim - 0.1), (x * 0.2, 0.1), start=0.03, end=0.02)
            for x in (-0.56, -0.32, -0.1, 0.1, 0.32, 0.56)]
    else:
        under = ellipse(0.0, rim, wide * 0.97, 0.26 if look["pose"] == "below" else 0.1)
        lines = [stroke((i * 0.05, rim - 0.04), (i * 0.26, rim + 0.3), start=0.02, end=0.03)
            for i in range(-4, 5)]
    whole = sketch.body(under, gills)
    for line in lines:
        sketch.fill(line, (92, 90, 96) if look["gills"] == "black" else shade(gills, 70),
            inside=whole)


def _edge(look: Look, wide: float, rim: float, rise: float) -> Floats:
    if look["cap"] == "funnel":
        depth = rim - (0.08 if look["pose"] == "below" else 0.2)  # from below less hollow shows
        return smooth((-wide, rim), (-wide * 0.5, depth), (wide * 0.5, depth), (wide, rim),
            (wide * 0.5, rim + 0.14), (-wide * 0.5, rim + 0.14))
    shoulder, high, crown = (0.56, 0.5, 0.04 / wide) if look["cap"] == "conical" else (0.8, 0.56, 0.34)
    return smooth((-wide, rim + 0.02), (-wide * shoulder, rim - rise * high),
        (-wide * crown, rim - rise), (wide * crown, rim - rise),
        (wide * shoulder, rim - rise * high), (wide, rim + 0.02), (0.0, rim + 0.05))


def _pattern(sketch: Sketch, look: Look, wide: float, rim: float, rise: float, whole: int) -> None:
    coat, top = look.color("color"), rim - rise
    ink, marks = shade(coat, 45), list[Floats]()
    if look["pattern"] == "spots":
        ink, flat = COLORS["white"], 0.07 if rise > 0.4 else 0.045
        marks = [ellipse(x * wide * 1.2, top + rise * y, 0.09, flat, 0, 12) for x, y in (
            (-0.44, 0.74), (-0.12, 0.5), (0.22, 0.66), (0.5, 0.82), (0.06, 0.86), (-0.26, 0.88),
            (0.1, 0.2))]
    elif look["pattern"] == "rings":
        thick = 0.08 if rise > 0.4 else 0.05
        marks = [curve((-wide, y + 0.12), (0.0, y), (wide, y + 0.12), start=thick, end=thick)
            for y in (top + rise * 0.44, top + rise * 0.8)]
    elif look["pattern"] == "streaks":
        marks = [stroke((x * wide * 0.3, top - 0.1), (x * wide * 1.15, rim + 0.1), start=0.03,
            end=0.07) for x in (-0.7, -0.36, 0.0, 0.36, 0.7)]
    elif look["pattern"] == "rim":
        ink = shade(coat, 172)
        marks = [curve((-wide, rim), (0.0, rim + 0.05), (wide, rim), start=0.17, end=0.17)]
    sketch.fill_all(marks, ink, inside=whole)
    sketch.fill(ellipse(-wide * 0.36, top + rise * 0.42, wide * 0.24, rise * 0.16, -60),
        (255, 255, 255), inside=whole, opacity=44)


def _guest(sketch: Sketch, look: Look, top: float) -> None:
    if look["guest"] == "slug":
        sketch.body(curve((-0.2, top + 0.02), (0.0, top - 0.1), (0.24, top + 0.02), start=0.06,
            end=0.14), (96, 74, 62))
        sketch.fill(stroke((0.24, top), (0.36, top - 0.12), start=0.03, end=0.03), (96, 74, 62))
    elif look["guest"] == "leaf":
        sketch.body(smooth((0.0, top + 0.12), (0.2, top - 0.1), (0.5, top + 0.02),
            (0.28, top + 0.2)), (224, 160, 50))


META_CATEGORY = MetaCategory("mushroom", "mushrooms",
    ("stool", "polt", "agar", "cep", "morel", "cowl"), TRAITS, draw, ("stem",))
