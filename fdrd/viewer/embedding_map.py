"""The map: images as points of a plane, the two directions in which their features vary most."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fdrd.viewer.facets import Floats, Indices, Mask, mixed

SIDE = 1000
"""Coordinates are integers from 0 to this."""
MOST_SHOWN = 50_000
"""Points that a page draws; of more, a random part."""
COLORS = 12
"""Labels with a color of their own; all others share one."""
_TAIL = 0.5
"""Percent of the images at each side that are drawn on the border, because a few may be far away."""


def plane(vectors: Floats) -> Indices:
    """Return (I, 2) coordinates of images: their first two principal components, stretched to the map.

    Args:
        vectors: (I, d) features.
    """
    x = vectors - vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    _, directions = np.linalg.eigh((x.T @ x).astype(np.float64))
    if x.shape[1] < 2:
        directions = np.ones((x.shape[1], 2))
    axes = directions[:, -1:-3:-1]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])  # eigenvectors have no sign
    points = x @ axes
    low, high = np.percentile(points, [_TAIL, 100 - _TAIL], axis=0)
    scaled = (points - low) / np.maximum(high - low, 1e-12)
    found: Indices = (np.clip(scaled, 0, 1) * SIDE).round().astype(np.int32)
    return found


def inside(points: Indices, area: str) -> Mask:
    """Return which points are inside a polygon, `x,y` of each corner, by the even-odd rule.

    >>> inside(np.array([[5, 5], [15, 5]]), "0,0,10,0,10,10,0,10").tolist()
    [True, False]
    """
    corners = np.array([int(each) for each in area.split(",")]).reshape(-1, 2)
    found = np.zeros(len(points), bool)
    x, y = points[:, 0], points[:, 1]
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y1 != y2:
            found ^= ((y1 > y) != (y2 > y)) & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return found


def packed(points: Indices, rows: Indices, colors: Indices) -> bytes:
    """Return x, y and color of rows as 16-bit integers, little-endian, in random order.

    Args:
        points: (N, 2) coordinates of the rows of the index; -1 for those without an image.
        rows: rows to draw.
        colors: (N,) color of each row.
    """
    rows = rows[points[rows, 0] >= 0]
    rows = rows[np.argsort(mixed(rows), kind="stable")[:MOST_SHOWN]]
    table: npt.NDArray[np.uint16] = np.column_stack([points[rows], colors[rows]]).astype("<u2")
    return table.tobytes()


def legend(labels: list[str], codes: Indices, rows: Indices) -> tuple[list[str], Indices]:
    """Return the labels that get a color, most frequent first, and the color of every row."""
    counts = np.bincount(codes[rows], minlength=len(labels))
    first = np.argsort(-counts, kind="stable")[:COLORS]
    first = first[counts[first] > 0]
    colors = np.full(len(labels), COLORS, np.int32)
    colors[first] = np.arange(len(first))
    names = [labels[number] for number in first]
    return names + (["other"] if np.count_nonzero(counts) > len(names) else []), colors[codes]
