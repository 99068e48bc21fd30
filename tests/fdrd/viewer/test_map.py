"""The map: where images lie, what an area selects, and that it is a filter like any other."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Polygon

from fdrd.viewer import browse_pages
from fdrd.viewer.browse_pages import COLORS, legend, packed
from fdrd.viewer.facets import parse_state
from fdrd.viewer.meaning import SIDE, inside, plane


def test_the_plane_shows_the_directions_of_most_variance():
    chance = np.random.default_rng(0)
    vectors = (chance.normal(size=(400, 5)) * [1, 9, 0.1, 3, 0.1]).astype(np.float32)
    points = plane(vectors)
    assert points.min() == 0
    assert points.max() == SIDE
    for axis, direction in enumerate((1, 3)):
        assert abs(np.corrcoef(points[:, axis], vectors[:, direction])[0, 1]) > 0.98
    assert np.array_equal(plane(vectors), points)
    assert plane(np.ones((3, 4), np.float32)).shape == (3, 2)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=3, max_size=3, unique=True)
)
def test_an_area_selects_what_lies_inside(corners):
    grid = np.array([(x, y) for x in range(21) for y in range(21)], np.int32)
    grid = grid * 2 + 1  # never on an edge
    triangle = np.array(corners) * 2
    found = inside(grid, ",".join(str(each) for corner in triangle.tolist() for each in corner))
    clear = np.abs(_distance(grid, triangle)) > 1e-9
    expected = Polygon(triangle).contains_points(grid)
    assert np.array_equal(found[clear], expected[clear])


def _distance(points, corners):
    """Return the least distance (up to a factor) of points to the lines through the edges."""
    found = np.full(len(points), np.inf)
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        found = np.minimum(
            found, np.abs((b - a)[0] * (points - a)[:, 1] - (b - a)[1] * (points - a)[:, 0])
        )
    return found


@pytest.mark.parametrize(
    "text", ["0,0,10,0", "0,0,10,0,5", "1,2,3,4,5,x", "0,0,1,1,2,99999", ",".join(["1"] * 132)]
)
def test_an_address_with_another_area_is_ignored(text):
    assert parse_state([("area", text)]).area == ""
    assert parse_state([("area", "0,0,10,0,5,9")]).url() == "/?area=0%2C0%2C10%2C0%2C5%2C9"


def test_most_frequent_labels_have_colors_and_the_points_are_a_sample(monkeypatch):
    labels = [f"c{n}" for n in range(COLORS + 3)]
    codes = np.concatenate([np.full(n + 1, n) for n in range(len(labels))]).astype(np.int32)
    names, colors = legend(labels, codes, np.arange(len(codes)))
    assert names == [*reversed(labels[3:]), "other"]
    assert set(colors[codes < 3].tolist()) == {COLORS}
    points = np.stack([np.arange(len(codes)), np.arange(len(codes))], axis=1).astype(np.int32)
    points[0] = -1
    rows = np.arange(len(codes), dtype=np.int32)
    assert len(packed(points, rows, colors)) == 6 * (len(codes) - 1)
    monkeypatch.setattr(browse_pages, "MOST_SHOWN", 7)
    assert len(packed(points, rows, colors)) == 6 * 7


def test_an_area_is_counted_shown_and_reviewed(measured, open_site):
    site = open_site(measured / "set", review="map", results=[measured / "runs"])
    page = site.ready("/map")
    assert "Map of 90 records" in page
    half = "0,0,500,0,500,1001,0,1001"
    index = site.context.library.current()
    rows = np.flatnonzero(inside(site.context.points(index), half))
    assert 0 < len(rows) < 90
    shown = site.text("/", area=half)
    assert f"<strong>{len(rows)}</strong> record" in shown
    assert "Area of the map" in shown
    assert f"of {len(rows)} left" in site.text("/review", area=half)
    assert f"Map of {len(rows)} record" in site.text("/map", area=half)
    test = index.columns.mask("split", ["test"])[rows].sum()
    assert f"<strong>{test}</strong> record" in site.text("/", area=half, split="test")
    for by in ("split", "rank", "evil"):
        data = site.ask(f"/map/points?by={by}").read()
        assert len(data) == 6 * 90
        names = re.findall(r'class="swatch[^<]*</i><bdi>([^<]+)', site.text("/map", by=by))
        assert np.frombuffer(data, "<u2")[2::3].max() < len(names)
    ranks = np.bincount(np.frombuffer(site.ask("/map/points?by=rank").read(), "<u2")[2::3])
    # The others were not measured.
    assert ranks[-1] == 90 - index.columns.mask("split", ["test"]).sum()
