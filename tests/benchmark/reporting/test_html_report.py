"""The HTML page: self-contained, safe against untrusted text, with correct examples."""

import base64
import io
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from benchmark.rank_metrics import MetricValues
from benchmark.reporting.comparison import group_results
from benchmark.reporting.pages import examples, html_page
from benchmark.reporting.tables import mrr_table
from benchmark.result import read_result
from tests.ranked import with_ranks

ACTIVE = {"script", "iframe", "object", "embed", "link", "base", "form", "a", "audio", "video"}
"""Tags that run, fetch or lead somewhere."""


class Read(HTMLParser):
    """Attributes and texts of a page, whose tags are closed in their turn, and which fetches and runs nothing."""

    def __init__(self, text):
        super().__init__()
        self.tags = set()
        self.attributes = []
        self.texts = []
        self.open = []
        self.feed(text)
        self.close()
        assert not self.open
        assert not self.tags & ACTIVE
        for name, value in self.attributes:
            assert not name.startswith("on")
            if "src" in name or "href" in name:
                assert value.startswith(("data:", "#"))

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def results(bench, run_tiny):
    return [read_result(bench.zero_shot), read_result(bench.random), run_tiny("nnn", train=None)]


@pytest.fixture(scope="module")
def page(results):
    return html_page(results)


def named(result, data="drawn", **names):
    settings = replace(result.settings, data=replace(result.settings.data, name=data), **names)
    return replace(result, settings=settings)


def test_a_page_is_self_contained(page):
    read = Read(page)
    assert "default-src 'none'" in str(dict(read.attributes)["content"])


def test_names_are_escaped_on_the_page(results):
    evil = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
    written = html_page(
        [named(each, data=evil, method=f"{each.settings.method}{evil}") for each in results[:2]]
    )
    read = Read(written)
    assert "<script" not in written
    assert any(evil in text for text in read.texts)


def test_the_best_methods_are_highlighted_and_tested(results):
    for shown, several in ((results[:2], True), (results[:1], False)):
        written = html_page(shown)
        assert ('<td class="best">zero_shot</td>' in written) == several
        assert ('class="best"' in written) == several
        assert ("MRR against" in written) == several


def test_the_page_says_what_was_measured_and_when(results):
    dates = ("2026-01-31", "2026-02-01")
    dated = [replace(each, date=date) for each, date in zip(results, dates, strict=False)]
    page = html_page(dated)
    assert "<title>Results on drawn</title>" in page
    assert "Measured on 2026-01-31 to 2026-02-01." in page
    assert "n = 24 images, 24 captions; one gallery of all" in page
    assert "Measured on" not in html_page([replace(results[0], date="")])


@pytest.mark.parametrize(
    ("sizes", "rows"),
    [
        (
            {"crow": (19, 0.5), "jay": (1, 1.0), "owl": (100, 0.25), "wren": (20, 0.5)},
            [["owl", "100", "25.0"], ["wren", "20", "50"], ["2 with fewer than 20", "20", "52"]],
        ),
        ({"crow": (19, 0.5), "owl": (20, 0.2)}, [["crow", "19", "50"], ["owl", "20", "20"]]),
    ],
    ids=["two", "one"],
)
def test_small_categories_share_a_row(results, sizes, rows):
    old = next(iter(results[0].metrics.by_category.values()))
    by_category = {
        name: {way: MetricValues(size, {**side.values, "MRR": mrr}) for way, side in old.items()}
        for name, (size, mrr) in sizes.items()
    }
    metrics = replace(results[0].metrics, by_category=by_category)
    (comparison,) = group_results([replace(results[0], metrics=metrics)])
    assert mrr_table("category", comparison)[0].rows == rows


@pytest.fixture
def built(tiny_dataset, monkeypatch, tmp_path):
    """A folder that holds the test split as it was measured."""
    (tmp_path / "manifest.json").write_text("{}")
    monkeypatch.setattr(
        "benchmark.reporting.pages.load_view", lambda _name, split, _domain: tiny_dataset[split]
    )
    return str(tmp_path)


def test_examples_show_the_largest_gains_and_losses(results, tiny_dataset, built):
    """Image 3: from 4 and 4 to 1 and 1. Image 5: 2 and 24 instead of 1 and 24. Luck is no rival.

    Image 7: from 4 and 4 to 1 and 1, but another rival finds it too.
    """
    zero_shot, random, subject = (named(result, data=built) for result in results)

    def ranks(**changes):
        return [changes.get(f"image_{n}", 4) for n in range(24)]

    ours, theirs = ranks(image_3=1, image_7=1, image_5=2), ranks(image_5=1)
    seventh = ranks(image_7=1)
    shown = [
        with_ranks(named(subject, built, method="dcar"), ours, [*ours[:5], 24, *ours[6:]]),
        with_ranks(zero_shot, theirs, ranks(image_5=24)),
        with_ranks(named(zero_shot, built, method="coop"), seventh, seventh),
        with_ranks(random, [1] * 24, [1] * 24),
    ]
    (comparison,) = group_results(shown)
    found = examples(comparison)
    assert [head.split()[1:3] for head in found] == [["dcar", "gains"], ["dcar", "loses"]]
    dataset = tiny_dataset["test"]
    (won,), (lost,) = found.values()
    assert won.caption == dataset.captions[dataset.pairs[3, 1]]
    assert won.ranks == {"zero_shot": (4, 4), "coop": (4, 4), "dcar": (1, 1), "random": (1, 1)}
    assert lost.caption == dataset.captions[dataset.pairs[5, 1]]
    assert lost.ranks["dcar"] == (2, 24)
    image = Image.open(io.BytesIO(base64.b64decode(won.image.partition(",")[2])))
    assert image.size == (40, 40)
    near, far = (
        np.abs(np.asarray(image, float) - np.asarray(each, float)).mean()
        for each in dataset.images([3, 5])
    )
    assert near < far / 3
    assert won.caption in Read(html_page(shown)).texts


def test_changed_data_gives_no_examples(results, built, tmp_path):
    """A split other than the measured one has another fingerprint."""
    for data, split, shown in (
        ("drawn", "test", False),
        (str(tmp_path / "gone"), "test", False),
        (built, "test", True),
        (built, "train", False),
    ):
        (comparison,) = group_results([named(each, data, split=split) for each in results])
        assert bool(examples(comparison)) == shown
