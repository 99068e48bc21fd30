"""The field guide reveals little to a model that does not see the subject."""

from collections import Counter
from statistics import mean

import pytest
from field_guide_probes import Pair, background_only, galleries, name_only

from fdrd.errors import FdrdError
from fdrd.field_guide import categories
from fdrd.field_guide.sighting import sight


@pytest.fixture(scope="module")
def default():
    """Galleries at the default scale of `sample`."""
    return galleries(120, 2400)


def test_the_name_alone_finds_few_with_pessimistic_ties(default):
    assert mean(name_only(gallery, "against") for gallery in default) < 0.10


def test_the_name_alone_finds_one_image_per_category_with_random_tie_breaking(
    default,
):
    """120 categories among 400 images give about a third; 36 categories give less than a tenth."""
    assert mean(name_only(gallery, "random") for gallery in default) == pytest.approx(
        0.30, abs=0.02
    )
    assert mean(name_only(gallery, "random") for gallery in galleries(36, 7200)) < 0.10


@pytest.mark.parametrize("direction", ["text_to_image", "image_to_text"])
def test_the_background_alone_finds_less_than_one_in_a_hundred(default, direction):
    assert mean(background_only(gallery, direction) for gallery in default) < 0.01  # type: ignore[arg-type]


def test_the_background_probe_by_hand():
    """Four images on two places; two captions name the place, two do not."""
    category = categories(1)[0]
    found = {}
    for image in range(200):
        sighting = sight(category, image, seed=0)
        if sighting.light == "day":
            found.setdefault(sighting.place, Pair(sighting, (None, None)))
    grass, wood = found["grass"], found["wood"]
    gallery = [
        Pair(grass.sighting, ("grass", None)), Pair(wood.sighting, ("wood", None)), grass, wood,
    ]  # fmt: skip
    # A caption that names a place fits two images, one that does not fits all four.
    assert background_only(gallery, "text_to_image") == pytest.approx((2 / 2 + 2 / 4) / 4)
    # Each image guesses the one caption that names its place, which is right for two of four.
    assert background_only(gallery, "image_to_text") == pytest.approx(2 / 4)


def test_a_split_smaller_than_a_gallery_is_refused():
    with pytest.raises(FdrdError, match="ask for more pairs"):
        galleries(4, 100)


def test_no_caption_names_both_place_and_light(default):
    assert all(None in pair.background for gallery in default for pair in gallery)


def test_backgrounds_say_nothing_about_the_meta_category():
    """Every kind stands on every ground about as often: 40 expected, standard deviation 6."""
    grounds = Counter(
        (category.kind.name, sight(category, image, seed=0).ground)
        for category in categories(120)
        for image in range(30)
    )
    assert len(grounds) == 10 * 9
    assert min(grounds.values()) > 40 - 25
    assert max(grounds.values()) < 40 + 25
