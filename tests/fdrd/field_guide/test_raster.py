"""The field guide's polygons."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdrd.field_guide.outline import ellipse, mirrored, pierced, polygon
from fdrd.field_guide.raster import FULL, Mask, masks, paint, within


def coverage(*outlines, width=16, height=16):
    """(height, width) shares of each outline on its own canvas."""
    found = masks(np.concatenate(outlines), [len(outline) for outline in outlines], width, height)
    canvases = []
    for mask in found:
        canvas = np.zeros((height, width), np.int64)
        rows, columns = mask.shares.shape
        canvas[mask.top : mask.top + rows, mask.left : mask.left + columns] = mask.shares
        canvases.append(canvas)
    return canvases


def test_a_square_covers_its_pixels_and_shares_of_its_borders():
    (square,) = coverage(polygon((2, 3), (5.5, 3), (5.5, 6.25), (2, 6.25)))
    assert (square[3:6, 2:5] == FULL).all()
    assert (square[3:6, 5] == FULL // 2).all()
    assert (square[6, 2:5] == FULL // 4).all()
    assert square.sum() == square[3:7, 2:6].sum()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-6, 22), st.floats(-6, 22)), min_size=3, max_size=3))
def test_a_triangle_covers_its_area(corners):
    """On a canvas that holds all of it, within what four lines a row can miss at its ends."""
    points = np.array(corners)
    (ax, ay), (bx, by), (cx, cy) = corners
    area = abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay)) / 2
    (covered,) = coverage(points + 8, width=40, height=40)
    longest = np.abs(points - np.roll(points, 1, axis=0)).sum()
    assert covered.sum() / FULL == pytest.approx(area, abs=0.2 + 0.05 * longest)


def test_orientation_makes_no_difference():
    outline = ellipse(8, 8, 5, 3)
    one, other = coverage(outline, outline[::-1])
    assert np.abs(one - other).max() <= 1  # a crossing is rounded down, whichever way the edge runs


def test_a_hole_removes_coverage_only_inside_its_polygon():
    disc = ellipse(8, 8, 6, 6)
    hole = ellipse(13, 8, 4, 4)
    whole, cut, taken = coverage(disc, pierced(disc, hole), hole)
    assert cut[8, 11] == 0
    assert cut[8, 4] == FULL
    assert (cut[taken == 0] == whole[taken == 0]).all()
    assert cut[8, 15] == 0


def test_shapes_are_clipped_to_the_canvas():
    for outline in (polygon((-9, -9), (40, -9), (40, 40), (-9, 40)), mirrored(ellipse(9, 9, 4, 4))):
        (covered,) = coverage(outline)
        assert set(np.unique(covered)) <= {0, FULL}


def test_paint_covers_fully_partly_and_not_at_all():
    canvas = np.full((3, 1, 3), 100, np.int16)
    paint(canvas, Mask(0, 0, np.array([[0, FULL // 2, FULL]], np.int16)), (255, 0, 100))
    assert canvas[:, 0].tolist() == [[100, 178, 255], [100, 50, 0], [100, 100, 100]]


def test_within_is_the_intersection_of_both_masks():
    one, other = (Mask(top, 0, np.full((4, 4), FULL, np.int16)) for top in (0, 2))
    both = within(one, other)
    assert (both.top, both.shares.shape, both.shares.min()) == (2, (2, 4), FULL)
    assert within(one, Mask(9, 9, one.shares)).shares.size == 0
