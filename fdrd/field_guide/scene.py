"""The scene around the subject: ground, occlusion, light and noise.

It is the same for all meta-categories, so a background says nothing about the subject. Its polygons are used once, so
they are not cached.
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import numpy.typing as npt

from fdrd.field_guide.chance import TURN, Chance, cosine, sine
from fdrd.field_guide.outline import Point, at, ellipse, stroke
from fdrd.field_guide.raster import Color, Floats, Shades
from fdrd.field_guide.sketch import Shadow, Sketch, jittered, shade

SHADOWS = {"day": (4, 5, 52), "evening": (9, 4, 60), "dusk": (2, 3, 40)}
"""Offset to the right and down in a frame of 128 pixels, and opacity, by light."""

TINTS = {"day": (262, 260, 254), "evening": (274, 240, 192), "dusk": (188, 204, 246)}
"""Factor of each channel in 1/256, by light."""


def _blades(sketch: Sketch, chance: Chance, base: Color, count: int, length: float) -> None:
    for _ in range(count):
        x, y = chance.between(-1.1, 1.1), chance.between(-1.0, 1.2)
        tilt = chance.between(-0.16, 0.16)
        color = shade(base, 72 + chance.below(64))
        sketch.fill(np.array([(x - 0.03, y), (x + tilt, y - length), (x + 0.03, y)]), color)


def _lawn(sketch: Sketch, chance: Chance) -> Color:
    base = jittered((112, 158, 70), chance, 22)
    _blades(sketch, chance, base, 44, chance.between(0.24, 0.4))
    return base


def _meadow(sketch: Sketch, chance: Chance) -> Color:
    base = jittered((132, 170, 84), chance, 20)
    _blades(sketch, chance, base, 26, 0.3)
    petal = chance.pick(((250, 246, 236), (246, 216, 90), (226, 160, 206)))
    for _ in range(12):
        x, y, size = chance.between(-1, 1), chance.between(-1, 1), chance.between(0.03, 0.06)
        sketch.fill(at(ellipse(0, 0, 1, 1, 0, 8), x, y, size), petal)
    return base


def _moss(sketch: Sketch, chance: Chance) -> Color:
    base = jittered((84, 116, 62), chance, 18)
    for _ in range(26):
        x, y, size = chance.between(-1.1, 1.1), chance.between(-1.1, 1.1), chance.between(0.1, 0.3)
        clump, lit = ellipse(0, 0, 1, 0.8, 0, 12), shade(base, 104 + chance.below(20))
        sketch.fill(at(clump, x, y, size), shade(base, 84))
        sketch.fill(at(clump, x - size * 0.1, y - size * 0.16, size * 0.8), lit)
    return base


def _slate(sketch: Sketch, chance: Chance) -> Color:
    base = jittered((126, 132, 142), chance, 18)
    for _ in range(9):
        x, y = chance.between(-1.2, 1.0), chance.between(-1.1, 1.1)
        width, height = chance.between(0.4, 1.1), chance.between(0.2, 0.5)
        right, lower = (x + width, y + chance.between(-0.2, 0.2)), (x + 0.1, y + height)
        facet = np.array([(x, y), right, (x + width - 0.1, right[1] + height), lower])
        sketch.fill(facet, shade(base, 86 + chance.below(32)))
    for _ in range(4):
        x, y = chance.between(-1, 1), chance.between(-1, 1)
        ends = (x + chance.between(-0.9, 0.9), y + chance.between(-0.5, 0.5))
        sketch.fill(np.array([(x, y), (x + 0.03, y + 0.02), ends]), shade(base, 62))
    return base


def _pebbles(sketch: Sketch, chance: Chance) -> Color:
    base = jittered((158, 148, 134), chance, 16)
    left, top = chance.between(-1.2, -0.8), chance.between(-1.2, -0.8)
    for row in range(6):
        for column in range(6):
            x = left + 0.4 * column + 0.2 * (row % 2) + chance.between(-0.07, 0.07)
            y = top + 0.4 * row + chance.between(-0.07, 0.07)
            stone = ellipse(0, 0, 1, 0.8, 0, 12) * chance.between(0.15, 0.23)
            tone = shade(base, 82 + chance.below(54))
            sketch.fill(at(stone, x + 0.02, y + 0.03), shade(base, 52))
            sketch.fill(at(stone, x, y), tone)
    return shade(base, 76)


def _paving(sketch: Sketch, chance: Chance) -> Color:
    base = jittered((196, 182, 160), chance, 18)
    slab = chance.between(0.5, 0.8)
    offset = chance.between(0, slab)
    for row in range(-1, 5):
        for column in range(-1, 5):
            x = -1 + slab * column - offset + slab * (row % 2) / 2
            y = -1 + slab * row - offset / 2
            left, right, top, bottom = x + 0.025, x + slab - 0.025, y + 0.025, y + slab - 0.025
            stone = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
            sketch.fill(stone, shade(base, 88 + chance.below(24)))
    return shade(base, 62)


def _planks(sketch: Sketch, chance: Chance, wood: Color, variation: int) -> Color:
    base = jittered(wood, chance, variation)
    width = chance.between(0.34, 0.6)
    across = chance.happens(0.5)

    def lay(*points: Point) -> Floats:
        return np.array([point[::-1] if across else point for point in points])

    start = -1.2 + chance.between(0, width)
    for i in range(-1, 7):
        y = start + width * i
        tone = shade(base, 84 + chance.below(30))
        edge = y + width - 0.03
        sketch.fill(lay((-1.2, y), (1.2, y), (1.2, edge), (-1.2, edge)), tone)
        for _ in range(3):
            x, v = chance.between(-1.2, 0.8), y + chance.between(0.05, 0.95) * width
            length = chance.between(0.3, 1.2)
            middle = x + length / 2
            crack = lay((x, v), (middle, v - 0.015), (x + length, v), (middle, v + 0.015))
            sketch.fill(crack, shade(tone, 78))
    return shade(base, 46)


def _logs(sketch: Sketch, chance: Chance) -> Color:
    base = jittered((142, 98, 62), chance, 16)
    gap = chance.between(0.44, 0.68)
    left, top = chance.between(-1.3, -0.9), chance.between(-1.3, -0.9)
    for row in range(6):
        for column in range(6):
            x = left + gap * (column + row % 2 / 2) + chance.between(-0.05, 0.05)
            y = top + gap * 0.9 * row + chance.between(-0.05, 0.05)
            if x > 1.3 or y > 1.3:
                continue
            disc = at(ellipse(0, 0, 1, 1, 0, 14), 0, 0, gap * chance.between(0.4, 0.52))
            rings = ((1, 76), (0.86, 108 + chance.below(22)), (0.5, 104), (0.36, 114))
            for ring, brightness in rings:
                sketch.fill(at(disc, x, y, ring), shade(base, brightness))
    return shade(base, 58)


GROUNDS: Mapping[str, Callable[[Sketch, Chance], Color]] = {
    "lawn": _lawn,
    "meadow": _meadow,
    "moss": _moss,
    "slate": _slate,
    "pebbles": _pebbles,
    "paving": _paving,
    "boards": partial(_planks, wood=(178, 130, 82), variation=18),
    "weathered": partial(_planks, wood=(168, 156, 138), variation=14),
    "logs": _logs,
}
"""Draw a ground over the square from -1 to 1, and return its base color."""


def cover(sketch: Sketch, name: str, chance: Chance) -> None:
    """Draw what hides a small part of the subject, along one edge of the square from -1 to 1."""
    if name == "blades":
        base = jittered((96, 146, 60), chance, 20)
        for _ in range(7):
            x, height = chance.between(-1.0, 1.0), chance.between(0.3, 0.75)
            tilt = chance.between(-0.3, 0.3)
            bend, tip = (x - 0.02 + tilt / 2, 1.05 - height * 0.6), (x + tilt, 1.05 - height)
            blade = np.array([(x - 0.05, 1.1), bend, tip, (x + 0.05, 1.1)])
            sketch.body(blade, shade(base, 80 + chance.below(40)))
    elif name == "twig":
        side = chance.pick((-1, 1))
        bark = jittered((104, 78, 54), chance, 14)
        y = chance.between(-1.0, -0.4)
        end = (side * chance.between(0.3, 0.6), y + chance.between(-0.2, 0.2))
        branch = stroke((side * 1.1, y), (side * 0.8, y + 0.06), end, start=0.07, end=0.03)
        sketch.body(branch, bark)
        for along, up in ((0.9, -0.16), (0.72, 0.18), (0.55, -0.12)):
            leaf = ellipse(0, 0, 0.15, 0.07, side * (90 if up < 0 else -90))
            sketch.body(at(leaf, side * along, y + up), jittered((110, 150, 66), chance, 24))


def shadow(light: str, size: int) -> Shadow:
    """Return the shadow that objects cast in this light, in a frame of `size` pixels."""
    right, down, opacity = SHADOWS[light]
    return right * size // 128, down * size // 128, opacity


def shine(canvas: Shades, light: str, chance: Chance) -> Shades:
    """Light the canvas (3, height, width) from a random side, with dappled light."""
    _, height, width = canvas.shape
    angle, slope = chance.below(TURN), chance.between(10, 60)
    across = np.arange(width) * int(slope * cosine(angle)) // width
    downwards = np.arange(height) * int(slope * sine(angle)) // height
    level = 256 - (across[width // 2] + downwards[height // 2]) + chance.below(25) - 12
    strength = across[None, :] + downwards[:, None] + level + _dapple(height, width, chance)
    tint = np.array(TINTS[light], np.int32)[:, None, None]
    lit: npt.NDArray[np.int32] = canvas * (tint * strength.astype(np.int32)[None] >> 8) >> 8
    return np.minimum(lit, 255).astype(np.int16)


def _dapple(height: int, width: int, chance: Chance) -> npt.NDArray[np.int64]:
    """Return (height, width) soft patches of light and shade, from -24 to 24.

    They also keep a perceptual hash from matching two images with the same subject and place.
    """
    knots = 9
    grid = chance.bytes(knots * knots).reshape(knots, knots).astype(np.int64) * 49 // 256 - 24
    y, x = (np.arange(side) * 256 * (knots - 1) // side for side in (height, width))
    row, column, dy, dx = y >> 8, x >> 8, (y & 255)[:, None], x & 255
    bands: npt.NDArray[np.int64] = grid[row] * (256 - dy) + grid[row + 1] * dy
    patches: npt.NDArray[np.int64] = bands[:, column] * (256 - dx) + bands[:, column + 1] * dx
    return patches >> 16


def grain(canvas: Shades, chance: Chance) -> Shades:
    """Add camera noise, whose strength differs between images."""
    amount = 4 + chance.below(12)
    noise = chance.bytes(2 * canvas.size).reshape(2, *canvas.shape).astype(np.int16)
    grainy: Shades = np.clip(canvas + ((noise[0] + noise[1] - 255) * np.int16(amount) >> 8), 0, 255)
    return grainy
