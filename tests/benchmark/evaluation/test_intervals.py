"""Intervals are those of Wilson for one caption per image, and cover the truth for several."""

import numpy as np
import pytest
from interval_coverage import Setting, coverage

from benchmark.intervals import score_interval


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
    "setting",
    [
        Setting(0.02, 100),
        Setting(0.98, 1000),
        Setting(0.02, 100, captions=5, share=0.8),
        Setting(0.98, 200, captions=3, share=0.3, uneven=True),
        Setting(0.02, 100, domains=4),
        Setting(0.95, 200, captions=5, share=0.3, ranks=True),
    ],
    ids=str,
)
def test_the_truth_is_covered_in_95_of_100_splits(setting):
    """A bootstrap covers 83 % in the first setting. `tools/interval_coverage.py` has all settings."""
    assert 0.925 < coverage(setting, 1000) < 0.98
