"""Intervals are those of Wilson for one caption per image, and cover the truth for several."""

from dataclasses import dataclass

import numpy as np
import pytest

from benchmark.intervals import score_interval


@dataclass(frozen=True)
class Setting:
    """A kind of split: `share` is the correlation of the captions of an image.

    With `uneven`, an image has 1 to 2 * captions - 1 captions; with `ranks`, a failed caption has a rank from 2 to 10.
    """

    recall: float
    images: int
    captions: int = 1
    share: float = 0.0
    uneven: bool = False
    domains: int = 1
    ranks: bool = False


def draw(setting: Setting, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum over captions and the number of captions, (I, 1) each."""
    count = np.full(setting.images, setting.captions)
    if setting.uneven:
        count = random.integers(1, 2 * setting.captions, setting.images)
    chance = np.full(setting.images, setting.recall)
    if setting.share:
        spread = (1 - setting.share) / setting.share
        chance = random.beta(setting.recall * spread, (1 - setting.recall) * spread, setting.images)
    sums = random.binomial(count, chance).astype(np.float64)
    if setting.ranks:
        failed = np.repeat(np.arange(setting.images), count - sums.astype(int))
        reciprocal = 1 / random.integers(2, 11, len(failed))
        sums += np.bincount(failed, reciprocal, minlength=setting.images)
    return sums[:, None], count[:, None].astype(np.float64)


def coverage(setting: Setting, splits: int, seed: int = 0) -> float:
    """Return the share of random splits whose interval contains the true value."""
    random = np.random.default_rng(seed)
    true = setting.recall
    if setting.ranks:
        true += (1 - setting.recall) * float(np.mean(1 / np.arange(2, 11)))
    hits = 0
    for _ in range(splits):
        low, high = score_interval([draw(setting, random) for _ in range(setting.domains)])
        hits += low <= true <= high
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
    """A bootstrap covers 83 % in the first setting."""
    assert 0.925 < coverage(setting, 1000) < 0.98
