"""What a model could score on the field guide without looking at the subject: reckoned exactly.

A probe knows one thing of every image perfectly and nothing else, and its equals are broken by lot
(*expected*) or against it (*pessimistic*, as the benchmark ranks). Galleries of 400 are cut from the
test split, as `fdrd bench --gallery 400` cuts them.
"""

import re
from collections import Counter
from random import Random
from statistics import mean

import pytest

from fdrd.field_guide import categories, splits
from fdrd.field_guide.caption import LIGHT_WORDS, PLACE_WORDS, caption
from fdrd.field_guide.sighting import sight

GALLERY, GALLERIES = 400, 6

MEANT = {
    (kind, marked): key
    for kind, table in (("place", PLACE_WORDS), ("light", LIGHT_WORDS))
    for key, phrases in table.items()
    for phrase in phrases
    for marked in re.findall(r"\[(.+?)\]", phrase)
}
"""What a span about the background stands for."""


def galleries(count, pairs):
    """Lists of (sighting, spans of its caption)."""
    test = [
        (sighting, caption(sighting, 128)[1])
        for category in categories(count)
        for image, split in enumerate(splits(pairs // count))
        if split == "test"
        for sighting in [sight(category, image, seed=0)]
    ]
    assert len(test) >= GALLERY
    return [Random(number).sample(test, GALLERY) for number in range(GALLERIES)]


@pytest.fixture(scope="module")
def default():
    """Galleries at the default scale of `sample`."""
    return galleries(120, 2400)


def name_only(gallery, ties):
    """R@1 of a model that tells categories apart perfectly: all images of the right one tie."""
    counts = Counter(sighting.category.name for sighting, _ in gallery)
    tied = [counts[sighting.category.name] for sighting, _ in gallery]
    return mean(1 / n if ties == "expected" else n == 1 for n in tied)


def told(spans):
    """What a caption tells of the background: place or None, light or None."""
    found = {
        span.type: MEANT[span.type, span.value.lower()]
        for span in spans
        if (span.type in ("place", "light"))
    }
    return found.get("place"), found.get("light")


def fits(said, background):
    return all(word in (None, truth) for word, truth in zip(said, background, strict=True))


def background_only(gallery, direction):
    """R@1 of a model that sees place and light of every image, equals broken by lot."""
    said = [told(spans) for _, spans in gallery]
    seen = [(sighting.place, sighting.light) for sighting, _ in gallery]
    backgrounds, captions = Counter(seen), Counter(said)
    fitting = {
        words: sum(n for background, n in backgrounds.items() if fits(words, background))
        for words in captions
    }
    if direction == "text_to_image":
        return mean(1 / fitting[words] for words in said)
    # The best guess for an image is a caption that fits it and fewest others.
    hits = []
    for words, background in zip(said, seen, strict=True):
        fewest = min(n for other, n in fitting.items() if fits(other, background))
        tied = sum(captions[w] for w, n in fitting.items() if n == fewest and fits(w, background))
        hits.append(1 / tied if fitting[words] == fewest else 0)
    return mean(hits)


def test_the_name_alone_finds_few_when_equals_count_against_it(default):
    assert mean(name_only(gallery, "pessimistic") for gallery in default) < 0.10


def test_the_name_alone_finds_one_in_as_many_as_a_category_has_in_the_gallery(default):
    """By lot, 400 images of 120 categories give a third, and under a tenth takes 36 of them."""
    assert mean(name_only(gallery, "expected") for gallery in default) == pytest.approx(
        0.30, abs=0.02
    )
    few = galleries(36, 2400)
    assert mean(name_only(gallery, "expected") for gallery in few) < 0.10


@pytest.mark.parametrize("direction", ["text_to_image", "image_to_text"])
def test_the_background_alone_finds_less_than_one_in_a_hundred(default, direction):
    assert mean(background_only(gallery, direction) for gallery in default) < 0.01


def test_no_caption_tells_of_both_place_and_light(default):
    assert all(None in told(spans) for gallery in default for _, spans in gallery)


def test_backgrounds_say_nothing_about_the_meta_category():
    """Every kind stands on every ground about as often: 40 times by chance, give or take 6."""
    grounds = Counter(
        (category.kind.name, sight(category, image, seed=0).ground)
        for category in categories(120)
        for image in range(30)
    )
    assert len(grounds) == 10 * 9
    assert min(grounds.values()) > 40 - 25
    assert max(grounds.values()) < 40 + 25
