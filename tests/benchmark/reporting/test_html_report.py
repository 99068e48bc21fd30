"""The HTML page: self-contained, safe against untrusted text, with correct examples."""

import base64
import dataclasses
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from benchmark.rank_metrics import MetricValues
from benchmark.reporting.comparison import group_results
from benchmark.reporting.pages import examples, html_page
from tests.ranked import with_ranks
from tests.running import run_method

PLAIN = {
    *("html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "section", "div"),
    *("table", "thead", "tbody", "tr", "th", "td", "details", "summary", "pre"),
    *("figure", "figcaption", "img"),
    *("svg", "g", "path", "text", "defs", "use", "clippath", "rect"),
}
DRAWN = """xmlns xmlns:xlink version viewbox width height role aria-label font-family font-size fill fill-opacity x y
text-anchor transform d stroke stroke-width stroke-opacity stroke-linecap stroke-linejoin stroke-dasharray
stroke-dashoffset clip-path id xlink:href data-of data-tip open""".split()


class Read(HTMLParser):
    """Tags, attributes and texts of a page; every tag that is opened must be closed in its turn."""

    def __init__(self, text):
        super().__init__()
        self.tags = set()
        self.attributes = []
        self.texts = []
        self.open = []
        self.feed(text)
        self.close()
        assert not self.open

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
def results(tiny_clip, tiny_dataset, tmp_path_factory):
    names = ("zero_shot", "random", "nnn")
    return [run_method(name, tiny_dataset, backbone=tiny_clip) for name in names]


def named(result, **names):
    data = dataclasses.replace(result.settings.data, name=names.pop("data", "drawn"))
    return dataclasses.replace(
        result, settings=dataclasses.replace(result.settings, data=data, **names)
    )


def test_a_page_is_self_contained(results):
    read = Read(html_page(results))
    assert read.tags <= PLAIN
    assert {name for name, _ in read.attributes} <= {
        *("lang", "charset", "name", "content", "http-equiv", "class", "src", "alt", "colspan"),
        *DRAWN,
    }
    assert all(
        (value or "").startswith("data:") for name, value in read.attributes if name == "src"
    )
    assert all(
        (value or "").startswith("#") for name, value in read.attributes if name == "xlink:href"
    )
    assert "default-src 'none'" in str(dict(read.attributes)["content"])


def test_names_are_escaped_on_the_page(results):
    evil = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
    pages = html_page(
        [named(result, data=evil, method=f"{result.settings.method}{evil}") for result in results]
    )
    read = Read(pages)
    assert read.tags <= PLAIN
    assert "<script" not in pages
    assert any(evil in text for text in read.texts)


def test_the_page_tells_the_numbers_of_the_table_and_of_each_category(results):
    texts = Read(html_page(results)).texts
    zero_shot = results[0].metrics
    for each in (
        zero_shot.by_direction["image_to_text"]["MRR"],
        zero_shot.hard_negatives["all"].accuracy,
    ):
        assert f"{100 * each:.0f}" in "".join(texts)
    assert not any("MRR by category" in text for text in texts)  # none has 20 images
    assert any("ceiling" in text for text in texts)
    assert any("fdrd bench --method nnn" in text for text in texts)


def test_the_best_methods_are_highlighted_and_tested(results):
    zero_shot, random, _ = results
    written = html_page([zero_shot, random])
    assert '<td class="best">zero_shot</td>' in written
    assert "MRR against zero_shot" in written
    alone = html_page([zero_shot])
    assert 'class="best"' not in alone
    assert "MRR against" not in alone


def test_the_page_says_what_was_measured_and_when(results):
    early = dataclasses.replace(results[0], date="2026-01-31")
    page = html_page(
        [early, *(dataclasses.replace(each, date="2026-02-01") for each in results[1:])]
    )
    assert "<title>Results on drawn</title>" in page
    assert "Measured on 2026-01-31 to 2026-02-01." in page
    assert "n = 24 images, 24 captions; one gallery of all" in page
    assert "Measured on" not in html_page([dataclasses.replace(each, date="") for each in results])


def test_small_categories_share_a_row(results):
    from benchmark.reporting.tables import mrr_table

    def sized(result, sizes):
        old = next(iter(result.metrics.by_category.values()))
        by_category = {
            name: {
                way: MetricValues(size, {**side.values, "MRR": mrr}) for way, side in old.items()
            }
            for name, (size, mrr) in sizes.items()
        }
        metrics = dataclasses.replace(result.metrics, by_category=by_category)
        return dataclasses.replace(result, metrics=metrics)

    sizes = {"crow": (19, 0.5), "jay": (1, 1.0), "owl": (100, 0.25), "wren": (20, 0.5)}
    (comparison,) = group_results([sized(results[0], sizes)])
    rows = [["owl", "100", "25.0"], ["wren", "20", "50"], ["2 with fewer than 20", "20", "52"]]
    assert mrr_table("category", comparison)[0].rows == rows
    (comparison,) = group_results([sized(results[0], {"crow": (19, 0.5), "owl": (20, 0.2)})])
    assert [row[0] for row in mrr_table("category", comparison)[0].rows] == ["crow", "owl"]


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
    seventh = [1 if n == 7 else 4 for n in range(24)]
    usual = [4] * 24
    ours = [1 if n in (3, 7) else 2 if n == 5 else 4 for n in range(24)]
    theirs = [1 if n == 5 else 4 for n in range(24)]
    shown = [
        with_ranks(
            named(subject, data=built, method="dcar"),
            ours,
            [24 if n == 5 else r for n, r in enumerate(ours)],
        ),
        with_ranks(zero_shot, theirs, [24 if n == 5 else r for n, r in enumerate(usual)]),
        with_ranks(named(zero_shot, data=built, method="coop"), seventh, seventh),
        with_ranks(random, [1] * 24, [1] * 24),
    ]
    (comparison,) = group_results(shown)
    found = examples(comparison)
    assert found.label == "dcar"
    dataset = tiny_dataset["test"]
    (won,), (lost,) = found.won, found.lost
    assert won.caption == dataset.captions[dataset.pairs[3, 1]]
    assert won.ranks == {"zero_shot": (4, 4), "coop": (4, 4), "dcar": (1, 1), "random": (1, 1)}
    assert lost.caption == dataset.captions[dataset.pairs[5, 1]]
    assert lost.ranks["dcar"] == (2, 24)
    shown_image = Image.open(io.BytesIO(base64.b64decode(won.image.partition(",")[2])))
    assert shown_image.size == (40, 40)
    near = np.abs(np.asarray(shown_image, float) - np.asarray(dataset.images([3])[0], float)).mean()
    far = np.abs(np.asarray(shown_image, float) - np.asarray(dataset.images([5])[0], float)).mean()
    assert near < far / 3
    assert won.caption in Read(html_page(shown)).texts


def test_changed_data_gives_no_examples(results, built, tmp_path):
    assert compared(results, "drawn") is None
    assert compared(results, str(tmp_path / "gone")) is None
    assert compared(results, built)
    other = [
        dataclasses.replace(each, settings=dataclasses.replace(each.settings, split="train"))
        for each in (named(result, data=built) for result in results)
    ]
    (comparison,) = group_results(other)
    assert examples(comparison) is None  # that split has another fingerprint


def compared(results, data):
    (comparison,) = group_results([named(result, data=data) for result in results])
    return examples(comparison)
