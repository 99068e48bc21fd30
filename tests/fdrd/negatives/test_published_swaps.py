"""Negatives and natural pairs of the published captions: no flaws, and what a reader said of a sample.

`tests/data/*_labels.json` have no text, only digests: `swap_digest` of a caption and its negative, or `pair_digest`.
`false` means false for the (other) image, as far as caption and label tell, and for Caltech-101 the image;
`fluent` that it is well-formed English.
"""

import hashlib
import json
from functools import cache
from pathlib import Path

import pytest

from fdrd.checks.flaws import wrong_articles
from fdrd.negatives import draw_negatives, fix_articles, make_catalog
from fdrd.negatives.given import plain
from fdrd.record import ImageRef, Record, Source
from fdrd.text.attributes import find_attributes
from fdrd.text.normalize import normalize_caption
from tests.fdrd.negatives.test_natural_pairs import matched
from tests.real import REAL, needs_real

FILES = ("pets_test", "flower_test", "inter_dtd_test", "inter_caltech-101_test")


def labels_of(name):
    return json.loads((Path(__file__).parents[2] / "data" / f"{name}_labels.json").read_text())


def share(labels, verdict):
    return sum(each[verdict] for each in labels) / len(labels)


def swap_digest(caption, negative):
    return hashlib.sha256(f"{plain(caption)}\n{plain(negative)}".encode()).hexdigest()[:16]


def pair_digest(*captions):
    return swap_digest(*sorted(captions, key=plain))


@cache
def published(file):
    """Return the records of a published file, each with its negatives."""
    (path,) = REAL.glob(f"*/{file}.json")
    pairs = []
    for name, fields in json.loads(path.read_text()).items():
        category = (fields.get("class_name") or name.rsplit("_", 1)[0]).replace("_", " ")
        caption = fix_articles(normalize_caption(fields["positive"])[0], category)
        attributes = find_attributes(caption, category)
        source = Source(name, sha256=name)
        pair = Record(name, ImageRef(""), caption, category, source, attributes=attributes)
        pairs.append(pair)
    catalog = make_catalog(pairs)
    options = {"catalog": catalog, "k": 4, "n_attribute": 2}
    return [(pair, draw_negatives(pair, [pair.caption], **options)) for pair in pairs]


@needs_real
@pytest.mark.parametrize(("file", "share"), [*zip(FILES, (0.9, 0.85, 0.2, 0.2), strict=True)])
def test_negatives_of_the_published_captions_have_no_flaws(file, share):
    some = 0
    for pair, found in published(file):
        some += bool(found)
        wrong = {plain(n.caption) for n in found}
        assert len(wrong) == len(found)
        assert plain(pair.caption) not in wrong
        articles = {article for n in found for article in wrong_articles(n.caption)}
        assert articles <= set(wrong_articles(pair.caption))
    assert some / len(published(file)) > share  # the others have no plausible swap


@needs_real
def test_a_reader_found_the_swaps_false_and_fluent():
    """Most of the labeled swaps are drawn today. After a change of the rules, label anew."""
    labels = {each["sha256"]: each for each in labels_of("swap")}
    assert len(labels) == 200
    drawn = {
        swap_digest(pair.caption, negative.caption)
        for file in FILES
        for pair, found in published(file)
        for negative in found
    }
    today = [each for digest, each in labels.items() if digest in drawn]
    assert len(today) >= 180
    assert share(today, "fluent") >= 0.97
    for kind in ("category", "attribute"):
        assert share([each for each in today if each["kind"] == kind], "false") >= 0.96


@needs_real
def test_a_reader_found_each_natural_pair_false_for_the_other_image():
    labels = {each["sha256"]: each for each in labels_of("pair")}
    assert len(labels) == 100
    matched_today = {
        pair_digest(*(by_id[each].caption for each in pair))
        for file in FILES
        for by_id in [{pair.id: pair for pair, _ in published(file)}]
        for pairs in matched(list(by_id.values())).values()
        for pair in pairs
    }
    today = [each for digest, each in labels.items() if digest in matched_today]
    assert len(today) >= 90
    assert share(today, "false") >= 0.97
