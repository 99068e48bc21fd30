"""Rasterize polygons with antialiasing, bit for bit the same on every machine.

All polygons of an image are scanned at once, with `LINES` scan lines per pixel row. Each crossing
of an edge is known to 1/256 pixel. Its share goes to two neighboring cells, so that a running sum
along the row is the covered area.

Pillow and graphics libraries multiply and add in C, which compilers fuse on some processors. Here
every operation is a separate numpy call with one IEEE 754 result, and all later steps use integers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Shades = npt.NDArray[np.int16]
Color = tuple[int, int, int]

LINES = 4  # scan lines per pixel row
CELL = 256  # steps per pixel along a scan line
FULL = 128  # coverage of a fully covered pixel. 255 * FULL fits 16 bits, which makes painting fast


@dataclass(frozen=True, slots=True)
class Mask:
    """Coverage of a polygon: (height, width) shares from 0 to `FULL`, with its corner at (top, left)."""

    top: int
    left: int
    shares: Shades


def masks(points: Floats, lengths: Sequence[int], width: int, height: int) -> list[Mask]:
    """Return the masks of closed polygons on a canvas of `width` x `height` pixels.

    `points` are (N, 2) x and y in pixels, and `lengths` the number of points of each polygon, at least three.
    """
    starts, following = rings(lengths)
    x = points[:, 0] * CELL
    y = points[:, 1] * LINES - 0.5  # scan line k lies at y = k

    # Rows and columns of each polygon, on the canvas.
    top = np.clip(np.floor(np.minimum.reduceat(y, starts) / LINES), 0, height).astype(np.int64)
    bottom = np.clip(np.floor(np.maximum.reduceat(y, starts) / LINES) + 1, 0, height)
    left = np.clip(np.floor(np.minimum.reduceat(x, starts) / CELL), 0, width).astype(np.int64)
    right = np.clip(np.floor(np.maximum.reduceat(x, starts) / CELL) + 1, 0, width)
    rows = np.maximum(bottom.astype(np.int64) - top, 0)
    columns = np.maximum(right.astype(np.int64) - left, 0)
    stride = columns + 2  # a share may fall one cell to the right of the last column
    area = rows * stride
    base = np.cumsum(area) - area

    # Edges run downward; an edge owns the scan lines from its upper end up to its lower end.
    down = y <= y[following]
    upper = np.where(down, y, y[following])
    lower = np.where(down, y[following], y)
    at_upper = np.where(down, x, x[following])
    at_lower = np.where(down, x[following], x)
    polygon = np.repeat(np.arange(len(lengths)), lengths)
    first = np.maximum(np.ceil(upper), top[polygon] * LINES)
    last = np.minimum(np.ceil(lower), (top + rows)[polygon] * LINES)
    crossings = np.maximum(last - first, 0).astype(np.int64)
    slope = (at_lower - at_upper) / np.maximum(lower - upper, 1e-9)

    edge = np.repeat(np.arange(len(points)), crossings)
    owner = polygon[edge]
    nth = np.arange(len(edge)) - (np.cumsum(crossings) - crossings)[edge]
    line = first[edge].astype(np.int64) + nth
    cut = np.floor((line - upper[edge]) * slope[edge] + at_upper[edge]).astype(np.int64)
    cut = np.clip(cut - left[owner] * CELL, 0, columns[owner] * CELL)
    share = cut & (CELL - 1)
    cell = base[owner] + (line // LINES - top[owner]) * stride[owner] + cut // CELL

    sign = np.where(down == runs_clockwise(points, lengths)[polygon], -1, 1)[edge]

    # Integers in doubles are exact in any order of addition.
    total = int(area.sum())
    change = np.bincount(cell, sign * (CELL - share), total + 1)
    change += np.bincount(cell + 1, sign * share, total + 1)
    # A hole that reaches beyond its polygon gives negative coverage there.
    covered = np.clip(np.cumsum(change), 0, CELL * LINES)
    shares = (covered.astype(np.int16) * 2 + CELL * LINES // FULL) // (2 * CELL * LINES // FULL)
    return [
        Mask(t, le, shares[b : b + r * s].reshape(r, s)[:, :c])
        for t, le, b, r, s, c in np.stack([top, left, base, rows, stride, columns], axis=1).tolist()
    ]


def rings(lengths: Sequence[int]) -> tuple[Integers, Integers]:
    """Return the first point of each closed polygon, and the next point of each point."""
    ends: Integers = np.cumsum(lengths)
    starts: Integers = ends - np.asarray(lengths)
    following = np.arange(1, ends[-1] + 1)
    following[ends - 1] = starts
    return starts, following


def runs_clockwise(points: Floats, lengths: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Return whether each polygon, as in `masks`, runs clockwise on the screen, by the sign of its area."""
    starts, following = rings(lengths)
    x, y = np.rint(points * 64).astype(np.int64).T  # integers, so the sum is exact
    return np.add.reduceat(x * y[following] - x[following] * y, starts) >= 0


def within(mask: Mask, limit: Mask) -> Mask:
    """Return the part of `mask` inside `limit`."""
    top, left = max(mask.top, limit.top), max(mask.left, limit.left)
    bottom = min(mask.top + mask.shares.shape[0], limit.top + limit.shares.shape[0])
    right = min(mask.left + mask.shares.shape[1], limit.left + limit.shares.shape[1])
    if bottom <= top or right <= left:
        return Mask(top, left, np.zeros((0, 0), np.int16))
    mine = mask.shares[top - mask.top : bottom - mask.top, left - mask.left : right - mask.left]
    y, x = slice(top - limit.top, bottom - limit.top), slice(left - limit.left, right - limit.left)
    return Mask(top, left, mine * limit.shares[y, x] // FULL)


def paint(canvas: Shades, mask: Mask, color: Color, opacity: int = FULL) -> None:
    """Lay a color over the canvas, (3, height, width) in place, where the mask covers it."""
    rows, columns = mask.shares.shape
    region = canvas[:, mask.top : mask.top + rows, mask.left : mask.left + columns]
    shares = mask.shares if opacity == FULL else mask.shares * np.int16(opacity) // FULL
    step = np.array(color, np.int16)[:, None, None] - region
    step *= shares
    step += FULL // 2
    step >>= 7  # divided by FULL
    region += step
