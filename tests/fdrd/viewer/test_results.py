"""Results in the viewer: the queries are the records that were measured, and the top ten agrees with the ranks."""

import time
from importlib.resources import files
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmark.rank_metrics import DIRECTIONS
from benchmark.reporting.plots import PALETTE, Plot, Series, inline_svg
from benchmark.reporting.result_plots import plots_of
from fdrd.dataset import load_view, rows_digest
from fdrd.viewer.index import open_index
from fdrd.viewer.results import Runs


@pytest.fixture
def runs(measured):
    return Runs([measured / "runs"])


def test_the_queries_are_the_records_that_were_measured(runs, measured):
    index = open_index(measured / "set")
    dataset = load_view(measured / "set", "test")
    queries = runs.queries(index, 0)
    records = index.records(queries.rows.tolist())
    assert rows_digest(index.texts(queries.rows)) == dataset.fingerprint
    assert [record["id"] for record in records] == dataset.ids
    assert [index.records([int(row)])[0]["image"] for row in queries.first] == dataset.image_digests


def test_the_top_ten_agrees_with_the_ranks(runs, measured):
    index = open_index(measured / "set")
    queries = runs.queries(index, 0)
    for place in range(2):
        top = runs.top(index, 0, place)
        while top.running:
            time.sleep(0.05)
            top = runs.known_top(0, place)
        assert top.state == ""
        by_image, by_row = (runs.ranks(0, direction)[place][1] for direction in DIRECTIONS)
        for row, images in enumerate(top.images):
            found = np.flatnonzero(images == queries.image_of_row[row])
            assert len(found) == 1 or by_row[row] > 10
            if len(
                found
            ):  # a tie counts against the method, so its rank may be worse than its place
                assert found[0] + 1 <= by_row[row]
        for image, rows in enumerate(top.captions):
            right = np.flatnonzero(queries.image_of_row[rows] == image)
            assert len(right) == (by_image[image] <= 10) or by_image[image] > 10


def test_the_pages_of_results_answer(measured, open_site):
    site = open_site(measured / "set", results=[measured / "runs"])
    page = site.text("/results", sort=5)
    assert page.count("<svg") >= 6
    assert "no difference shown" in page or "better" in page or "worse" in page
    assert "Explore queries" in page
    assert site.text("/results/plot.svg", name="recall-text_to_image").startswith("<svg")
    assert site.ask("/results/plot.pdf?name=recall-text_to_image").status == 200
    assert site.ask("/results/plot.exe?name=recall-text_to_image").status == 404
    for show in ("a-not-b", "b-not-a", "neither", "both", "all"):
        assert "Queries" in site.text("/results/queries", show=show, k=5, direction="image_to_text")
    assert "rank" in site.text("/results/query", n=2)
    assert "not measured" in site.text("/results", against="none-such")


def test_results_of_other_data_are_told_apart(measured, birds, tmp_path, open_site):
    from fdrd.pipeline.builder import build

    build(birds, tmp_path / "other", workers=1)
    site = open_site(tmp_path / "other", results=[measured / "runs"])
    assert "measured on other data" in site.text("/results")
    assert "measured on other data" in site.text("/results/queries")


def test_buttons_of_series_have_the_colors_of_the_plots():
    css = files("fdrd.viewer").joinpath("static/viewer.css").read_text()
    for place, color in enumerate(PALETTE):
        assert f".s{place} {{ --c: {color}; }}" in css


def test_plots_are_xml_without_styles_or_scripts(runs):
    plots = plots_of(runs.comparisons[0])
    assert {plot.name for plot in plots} >= {
        "recall-text_to_image",
        "ranks-image_to_text",
        "training-mrr",
    }
    hostile = Plot(
        "p",
        "<script>\x07</script>",
        ["<a>", "b"],
        [Series('"><x $\\frac', [1.0, 2.0], 0)],
        "&",
        "<",
        bars=True,
    )
    for plot in (*plots, hostile):
        root = ElementTree.fromstring(inline_svg(plot))
        assert not any(
            "style" in each.attrib or each.tag.endswith(("script", "style")) for each in root.iter()
        )
        series = {each.get("data-of") for each in root.iter()} - {None}
        assert series == {str(n) for n in range(len(plot.series))}
