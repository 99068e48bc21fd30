"""Search by meaning: what is shown is what is counted, filtered, ordered and reviewed; no results are needed."""

import re
from html import unescape

import numpy as np
import pytest

from fdrd.viewer import facets
from fdrd.viewer.meaning import BACKBONE, Meaning


def total(page):
    return int(re.search(r"<strong>([\d,]+)</strong> record", page)[1])


def ids(page):
    return [unescape(each) for each in re.findall(r'aria-label="Select ([^"]+)"', page)]


@pytest.fixture
def few(monkeypatch):
    """A search by meaning selects seven records."""
    monkeypatch.setattr(facets, "MATCHES", 7)


def test_the_best_matches_are_counted_filtered_ordered_and_reviewed(drawn, open_site, few):
    site = open_site(drawn / "set", review="meaning")
    first = site.text("/", q="zzz", similar=BACKBONE)
    assert "Reading the images once" in first  # before any model is loaded
    page = site.ready("/", q="zzz", similar=BACKBONE)
    assert total(page) == len(ids(page)) == 7
    splits = re.findall(r'split=(\w+)" rel.*?class="count">(\d+)', page, re.DOTALL)
    assert sum(int(count) for _, count in splits) == 7
    index = site.context.library.current()
    scores = site.context.meaning.scores(index, BACKBONE, "zzz", "")
    best = np.argsort(-scores, kind="stable")[:7]
    assert ids(page) == [record["id"] for record in index.records(best.tolist())]
    filtered = site.text("/", q="zzz", similar=BACKBONE, split="test")
    test = index.columns.mask("split", ["test"])
    assert total(filtered) == 7
    assert {index.record(each)["split"] for each in ids(filtered)} == {"test"}
    assert scores[test].max() == scores[index.record(ids(filtered)[0])["row"]]
    shortest = ids(site.text("/", q="zzz", similar=BACKBONE, order="short"))
    assert sorted(shortest) == sorted(ids(page))
    words = [len(index.record(each)["caption"].split()) for each in shortest]
    assert words == sorted(words)
    review = re.search(r'href="(/review\?[^"]+)"', page)[1].replace("&amp;", "&")
    assert "<strong>7</strong> of 7 left" in site.text(review)


def test_an_image_finds_captions(drawn, open_site, few):
    site = open_site(drawn / "set")
    index = site.context.library.current()
    record = index.records([0])[0]
    page = site.ready("/", like=record["id"], similar=BACKBONE)
    assert total(page) == 7
    scores = site.context.meaning.scores(index, BACKBONE, "", record["id"])
    best = index.records(np.flatnonzero(scores == scores.max()).tolist())
    assert ids(page)[0] in {each["id"] for each in best}
    page = site.text("/", like="none", similar=BACKBONE)
    assert "no such record; words are searched instead" in page


def test_a_method_that_was_measured_searches(measured, open_site, few):
    site = open_site(measured / "set", results=[measured / "runs"])
    keys = dict(site.context.meaning.methods(site.context.library.current()))
    trained = next(key for key, label in keys.items() if label.startswith("clip_adapter"))
    assert total(site.ready("/", q="blue", similar=trained)) == 7


def test_what_cannot_be_loaded_is_named_and_words_are_searched(drawn, open_site, monkeypatch):
    site = open_site(drawn / "set")
    monkeypatch.setattr("fdrd.viewer.meaning.backbone_of", lambda index: "code.py:load")
    page = site.ready("/", q="blue", similar=BACKBONE)
    assert "which only the command line may name" in page
    assert total(page) == total(site.text("/", q="blue"))
    assert "no such method; words are searched instead" in site.text("/", q="blue", similar="7.7")


def test_no_method_needs_results(drawn, open_site):
    site = open_site(drawn / "set")
    assert Meaning().methods(site.context.library.current()) == [(BACKBONE, "embedded")]
    assert "Meaning: embedded" in site.text("/")
