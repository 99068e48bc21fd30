"""Intervals are those of Wilson for one caption per image, and cover the truth for several."""

import numpy as np
import pytest

from benchmark.intervals import score_interval


def coverage(recall, images, captions, share, splits=1000):
    """Return the share of drawn splits whose interval contains the recall.

    An image has up to 2 * captions - 1 captions, whose successes have the correlation `share`.
    """
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(splits):
        count = random.integers(1, 2 * captions, images)
        chance = recall
        if share:
            spread = (1 - share) / share
            chance = random.beta(recall * spread, (1 - recall) * spread, images)
        sums = random.binomial(count, chance).astype(np.float64)
        low, high = score_interval([(sums[:, None], count[:, None].astype(np.float64))])
        hits += low <= recall <= high
    return hits / splits


@pytest.mark.parametrize(
    ("found", "wanted"),
    [(0, (0.0, 0.0370)), (2, (0.0055, 0.0700)), (50, (0.4038, 0.5962)), (98, (0.9300, 0.9945))],
)
def test_one_caption_per_image_gives_the_interval_of_wilson(found, wanted):
    """Published values for n = 100 (Newcombe 1998, method 3)."""
    sums = (np.arange(100) < found).astype(float)[:, None]
    assert score_interval([(sums, np.ones((100, 1)))]) == pytest.approx(wanted, abs=1e-4)


def test_equal_images_count_once_and_independent_captions_each():
    same = np.repeat([0.0, 5.0], 50)[:, None]
    mixed = np.tile([2.0, 3.0], 50)[:, None]
    count = np.full((100, 1), 5.0)
    wide, narrow = (score_interval([(sums, count)]) for sums in (same, mixed))
    assert wide == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert narrow[1] - narrow[0] < 0.05


def test_one_image_has_an_interval():
    one = np.ones((1, 1))
    assert score_interval([(one, one)]) == pytest.approx((0.2065, 1), abs=1e-4)


def test_four_equal_domains_are_as_sure_as_one_of_their_size():
    half = (np.arange(100) < 50).astype(float)[:, None], np.ones((100, 1))
    whole = (np.arange(400) < 200).astype(float)[:, None], np.ones((400, 1))
    assert score_interval([half] * 4) == pytest.approx(score_interval([whole]), abs=1e-3)


def test_a_domain_without_failures_does_not_narrow_the_interval_to_nothing():
    right, wrong = (np.ones((10, 1)), np.ones((10, 1))), (np.zeros((10, 1)), np.ones((10, 1)))
    low, high = score_interval([right, wrong])
    assert low < 0.4
    assert high > 0.6


@pytest.mark.parametrize(
    ("recall", "images", "captions", "share"),
    [(0.02, 100, 1, 0.0), (0.98, 1000, 1, 0.0), (0.02, 100, 3, 0.8), (0.98, 200, 3, 0.3)],
)
def test_the_truth_is_covered_in_95_of_100_splits(recall, images, captions, share):
    """A bootstrap covers 83 % in the first setting."""
    assert 0.925 < coverage(recall, images, captions, share) < 0.98
