"""Categories, images and captions of the field guide."""

import hashlib
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdrd.errors import FdrdError
from fdrd.field_guide import POOLS, available, categories, draw
from fdrd.field_guide.caption import MAX_WORDS, caption
from fdrd.field_guide.meta_categories import meta_categories
from fdrd.field_guide.sketch import Placement, Sketch, placed, render
from fdrd.field_guide.taxonomy import sight
from fdrd.field_guide.traits import Look

TYPES = set("color pattern material size shape count part pose place light viewpoint".split())

PINNED = {
    # (pool, category, image, seed, size): sha256 of the pixels and of the file, both shortened
    ("demo", 0, 0, 0, 128): ("4bcd16a3b14160ed", "d80562e3f8bd948c"),
    ("demo", 37, 5, 0, 128): ("c054572c55763cff", "33dc95f91c8e0628"),
    ("base", 411, 2, 7, 96): ("003715310b06d32f", "9865b5b7f06593d6"),
}

SEVERAL = [(category, image) for category in categories(240) for image in range(6)]
"""Categories of all kinds, four genera each, and a few images of each category."""


def short_digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


@pytest.fixture(scope="module")
def book():
    """All categories of both pools."""
    return {pool: categories(available(pool), pool) for pool in POOLS}


def test_pools_are_large_have_all_meta_categories_and_no_equal_names_or_signatures(book):
    assert min(len(pool) for pool in book.values()) >= 1500
    both = [category for pool in book.values() for category in pool]
    assert len(both) >= 4000
    names = {kind.name for kind in meta_categories()}
    assert len(names) >= 8
    assert {category.kind.name for category in book["demo"][: len(names)]} == names
    assert len({category.name.lower() for category in both}) == len(both)
    looks = {(category.kind.name, *category.signature.items()) for category in both}
    assert len(looks) == len(both)


def test_individuals_share_the_traits_of_their_category_and_vary_in_the_others():
    for category in categories(40):
        seen = [sight(category, image, 0).values for image in range(0, 120, 2)]
        assert "color" in category.varying
        assert len(category.varying) >= 2
        for trait, value in category.signature.items():
            found = {values[trait] for values in seen}
            assert found != {value} if trait in category.varying else found == {value}
        assert all(category.kind.sensible(values) for values in seen)


def test_a_name_does_not_give_the_color_of_a_caption_away():
    """The most frequent color of a category is right for at most a third of its captions that name one."""
    named = Counter()
    for category in categories(36):
        for image in range(0, 80, 2):
            sighting = sight(category, image, 0)
            if any(span.value == sighting.values["color"] for span in caption(sighting, 128)[1]):
                named[category.name, sighting.values["color"]] += 1
    best = {}
    for (name, _), count in named.items():
        best[name] = max(best.get(name, 0), count)
    assert sum(best.values()) / named.total() < 0.36


def test_no_word_of_a_name_is_a_word_of_a_description(book):
    described = {
        word.strip("[]").lower()
        for kind in meta_categories()
        for trait in kind.traits
        for value in trait.values
        for words in value.words
        for word in words.replace("|", " ").split()
    } - {"the"}
    named = {word.lower() for pool in book.values() for c in pool for word in c.name.split()}
    assert not described & named


def test_asking_for_too_many_categories_names_the_size_of_the_pool():
    with pytest.raises(FdrdError, match="the demo pool has"):
        categories(100_000)
    with pytest.raises(FdrdError, match="demo, base"):
        categories(1, pool="other")


def test_categories_do_not_depend_on_the_start_of_the_slice():
    assert categories(3, first=20) == categories(40)[20:23]


@pytest.mark.parametrize("key", PINNED, ids=str)
def test_pixels_and_files_match_pinned_digests(key):
    pool, category, image, seed, size = key
    plate = draw(categories(category + 1, pool)[category], image, seed=seed, size=size)
    assert (short_digest(plate.pixels.tobytes()), short_digest(plate.encoded())) == PINNED[key]


def test_seed_index_and_category_each_change_the_image():
    first, second = categories(2)
    plates = [draw(first, 0), draw(first, 0, seed=1), draw(first, 1), draw(second, 0)]
    assert len({plate.pixels.tobytes() for plate in plates}) == len(plates)


@settings(max_examples=120, deadline=None)
@given(
    index=st.integers(0, 1499),
    image=st.integers(0, 200),
    seed=st.integers(0, 2**32),
    pool=st.sampled_from(POOLS),
)
def test_spans_are_exact_and_never_overlap(index, image, seed, pool):
    (category,) = categories(1, pool, index)
    text, spans = caption(sight(category, image, seed), 128)
    assert all(text[span.start : span.end] == span.value for span in spans)
    assert all(span.type in TYPES for span in spans)
    assert all(one.end <= other.start for one, other in pairwise(spans))
    assert category.name in text
    assert all(mark not in text for mark in "[]|{}")


def test_captions_are_short_sentences_with_fitting_articles_and_plurals():
    counts = ("two", "a pair of", "three", "a group of three")
    for category, image in SEVERAL:
        sighting = sight(category, image, 0)
        text, spans = caption(sighting, 128)
        assert 2 <= len(text.split()) <= MAX_WORDS <= 45
        assert text[0].isupper()
        assert text.endswith(".")
        assert "  " not in text
        assert ".." not in text
        for one, other in pairwise(text.lower().split()):
            assert one != "a" or other[0] not in "aeio", f"a {other}"
            assert one != "an" or other[0] in "aeiou", f"an {other}"
        if sighting.count > 1 and "each" in text:
            assert any(span.type == "count" and span.value.lower() in counts for span in spans)
            assert " it has" not in text


def test_captions_vary_and_about_one_in_ten_is_vague():
    found = [caption(sight(category, image, 0), 128) for category, image in SEVERAL]
    assert len({text for text, _ in found}) > 0.98 * len(found)
    assert 0.06 < sum(len(spans) <= 1 for _, spans in found) / len(found) < 0.14


@pytest.mark.parametrize("kind", meta_categories(), ids=lambda kind: kind.name)
def test_every_trait_value_is_visible(kind):
    """One individual with each value of a trait in turn, all else equal: no two look the same."""
    (category,) = (c for c in categories(len(meta_categories())) if c.kind == kind)
    plain = {trait.name: trait.values[0].key for trait in kind.traits} | dict(category.signature)
    for trait in kind.traits:
        if trait.name == "viewpoint":
            continue
        # Something for this trait to show on: a marking has no color where there is none.
        base = dict(plain)
        if trait.unless:
            shown = next(t for t in kind.traits if t.name == trait.unless[0])
            base[shown.name] = next(v.key for v in shown.values if v.key not in trait.unless[1])
        drawings = set()
        for value in trait.values:
            sketch = Sketch()
            kind.draw(sketch, Look(base | {trait.name: value.key}, "same"))
            canvas = np.full((3, 96, 96), 128, np.int16)
            shapes = placed(sketch, [Placement(48, 48, 44)])
            render(canvas, shapes, contour=0.7)
            drawings.add(canvas.tobytes())
        assert len(drawings) == len(trait.values), trait.name
