"""Outlines: closed polygons as (n, 2) arrays of x (right) and y (down), in any unit.

Outlines built from constants are cached, because every image uses the same ones.
"""

import math
from functools import lru_cache
from itertools import chain

import numpy as np

from fdrd.field_guide.chance import TURN, cosine, sine
from fdrd.field_guide.raster import Floats, runs_clockwise

Point = tuple[float, float]


@lru_cache(maxsize=4096)
def polygon(*points: Point) -> Floats:
    """Return the polygon through these points."""
    outline = np.array(points, np.float64)
    outline.setflags(write=False)  # cached, so shared by all callers
    return outline


@lru_cache(maxsize=4096)
def ellipse(x: float, y: float, rx: float, ry: float, turn: int = 0, corners: int = 24) -> Floats:
    """Return an ellipse around (x, y), turned by `turn` steps of `TURN`."""
    points = []
    for corner in range(corners):
        u, v = rx * cosine(corner * TURN // corners), ry * sine(corner * TURN // corners)
        du, dv = u * cosine(turn) - v * sine(turn), u * sine(turn) + v * cosine(turn)
        points.append((x + du, y + dv))
    return polygon(*points)


@lru_cache(maxsize=1024)
def star(x: float, y: float, outer: float, inner: float, rays: int) -> Floats:
    """Return a star around (x, y) whose first ray points up."""
    points = []
    for corner in range(2 * rays):
        angle = corner * TURN // (2 * rays) - TURN // 4
        radius = inner if corner % 2 else outer
        points.append((x + radius * cosine(angle), y + radius * sine(angle)))
    return polygon(*points)


@lru_cache(maxsize=4096)
def smooth(*points: Point, steps: int = 5) -> Floats:
    """Return the closed curve through these points, with `steps` corners between neighbors."""
    ring = (points[-1], *points, *points[:2])
    arcs = (_between(ring[i : i + 4], steps) for i in range(len(points)))
    return polygon(*chain.from_iterable(arcs))


@lru_cache(maxsize=4096)
def stroke(*points: Point, start: float, end: float) -> Floats:
    """Return a line along the points whose width goes from `start` to `end`."""
    one_side, other_side = [], []
    last = len(points) - 1
    for i, (x, y) in enumerate(points):
        (ax, ay), (bx, by) = points[max(i - 1, 0)], points[min(i + 1, last)]
        dx, dy = bx - ax, by - ay
        length = math.sqrt(dx * dx + dy * dy) or 1.0
        half = (start + (end - start) * i / last) / 2
        one_side.append((x - dy / length * half, y + dx / length * half))
        other_side.append((x + dy / length * half, y - dx / length * half))
    return polygon(*one_side, *reversed(other_side))


@lru_cache(maxsize=4096)
def curve(*points: Point, start: float, end: float, steps: int = 4) -> Floats:
    """Return a stroke along the open smooth curve through the points."""
    padded = (points[0], *points, points[-1])
    arcs = (_between(padded[i : i + 4], steps) for i in range(len(points) - 1))
    return stroke(*chain.from_iterable(arcs), points[-1], start=start, end=end)


def _between(corners: tuple[Point, ...], steps: int) -> list[Point]:
    """Return points of the Catmull-Rom curve from the second (included) to the third (excluded) of four corners."""
    a, b, c, d = corners
    points = []
    for step in range(steps):
        t = step / steps
        u, v = -t + 2 * t * t - t * t * t, 2 - 5 * t * t + 3 * t * t * t
        w, z = t + 4 * t * t - 3 * t * t * t, t * t * t - t * t
        x = (u * a[0] + v * b[0] + w * c[0] + z * d[0]) / 2
        y = (u * a[1] + v * b[1] + w * c[1] + z * d[1]) / 2
        points.append((x, y))
    return points


def at(outline: Floats, x: float, y: float, size: float = 1.0) -> Floats:
    """Scale the outline by `size` and move its origin to (x, y)."""
    moved: Floats = outline * size + np.array((x, y))
    return moved


def mirrored(outline: Floats) -> Floats:
    """Mirror the outline at the line x = 0."""
    return np.stack([-outline[:, 0], outline[:, 1]], axis=1)


def on_side(outline: Floats, side: int) -> Floats:
    """Return the outline for side 1, its mirror image for side -1."""
    return mirrored(outline) if side < 0 else outline


def turned(outline: Floats, turn: int, x: float, y: float) -> Floats:
    """Turn the outline around (x, y) by `turn` steps of `TURN`."""
    u, v = outline[:, 0] - x, outline[:, 1] - y
    c, s = cosine(turn), sine(turn)
    return np.stack([u * c - v * s + x, u * s + v * c + y], axis=1)


def pierced(outline: Floats, *holes: Floats) -> Floats:
    """Cut holes into the outline; a hole may reach over the edge.

    A seam of zero width joins a hole to the outline. The hole runs in the opposite direction.
    """
    parts = [outline, outline[:1]]
    for hole in holes:
        same = runs_clockwise(np.concatenate([outline, hole]) * 1024, [len(outline), len(hole)])
        backwards = hole[::-1] if same[0] == same[1] else hole
        parts += [backwards, backwards[:1], outline[:1]]
    return np.concatenate(parts)
