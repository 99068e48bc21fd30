"""Paired tests against arithmetic by hand, and against the enumeration of every pattern of signs."""

from itertools import product

import numpy as np
import pytest

from benchmark.evaluation.paired_tests import (
    holm,
    paired_differences,
    seed_intervals,
    sign_flip_p,
    unit_intervals,
)
from benchmark.rank_metrics import ByDirection, QueryGroups


def clusters(image_of_row, group=None):
    images = max(image_of_row) + 1
    return QueryGroups(np.array(image_of_row), np.array(group or [0] * images), joint=False)


def difference(reference, other, of, **options):
    (found,) = paired_differences(reference, [other], of, **options)
    return found


def reciprocals(to_text, to_image):
    return ByDirection(np.array(to_text, dtype=float), np.array(to_image, dtype=float))


# Two images; the first has three captions.
SHARED = clusters([0, 0, 0, 1])
REFERENCE = reciprocals([0.5, 0.25], [0.5, 0.5, 0.5, 0.5])
BETTER = reciprocals([1.0, 0.5], [1.0, 1.0, 0.5, 0.25])


def test_differences_are_those_of_the_mrr():
    found = difference(REFERENCE, BETTER, SHARED)
    assert found["image_to_text"].value == pytest.approx((0.5 + 0.25) / 2)
    assert found["text_to_image"].value == pytest.approx((0.5 + 0.5 + 0 - 0.25) / 4)
    assert found["mean"].value == pytest.approx((0.375 + 0.1875) / 2)


def test_the_signs_of_an_image_flip_together():
    """Two images have four patterns. Text to image: +1/4 and -1/16, so |sum| is 3/16 or 5/16.

    Row by row there would be eight patterns, 1/8, 1/8, 0 and -1/16, and another p.
    """
    found = difference(REFERENCE, BETTER, SHARED)
    assert found["image_to_text"].p == 2 / 4
    assert found["text_to_image"].p == 4 / 4
    assert found["mean"].p == 2 / 4 + 0  # 1/4 + 1/8 and 1/8 - 1/32: the sum is the greatest


def test_domains_weigh_the_same_whatever_their_size():
    of = clusters([0, 1, 2, 3], group=[0, 1, 1, 1])
    other = reciprocals([0.75, 0.5, 0.5, 0.5], [0.5] * 4)
    found = difference(reciprocals([0.5] * 4, [0.5] * 4), other, of)
    assert found["image_to_text"].value == pytest.approx((0.25 + 0) / 2)
    even = reciprocals([0.75] * 4, [0.75] * 4)
    found = difference(reciprocals([0.5] * 4, [0.5] * 4), even, of)
    assert found["mean"].interval == pytest.approx((0.25, 0.25))


def enumerated(values):
    """Two-sided p of a sum by trying every pattern of signs."""
    sums = [abs(np.dot(signs, values)) for signs in product((1, -1), repeat=len(values))]
    return float(np.mean([each >= abs(values.sum()) - 1e-9 for each in sums]))


@pytest.mark.parametrize("seed", range(4))
def test_few_units_are_enumerated_and_drawn_patterns_agree_with_all(seed):
    random = np.random.default_rng(seed)
    few, more = random.choice([-0.5, 0, 0.25, 0.5], size=9), random.normal(0.3, 1, size=13)
    for values in (few, more):
        assert sign_flip_p(values[:, None])[0] == enumerated(values)
    drawn = sign_flip_p(more[:, None], flips=8000)[0]
    assert drawn == pytest.approx(enumerated(more), abs=0.02)


def test_p_reaches_a_ten_thousandth_and_is_never_zero():
    p = sign_flip_p(np.ones((200, 1)))[0]
    assert 0 < p < 1e-4


def test_equal_methods_do_not_differ_significantly():
    found = difference(REFERENCE, REFERENCE, SHARED)["mean"]
    assert (found.value, found.interval, found.p, found.holm) == (0, (0, 0), 1, 1)


def test_the_false_positive_rate_is_the_significance_level():
    generator = np.random.default_rng(0)
    p = sign_flip_p(generator.standard_t(3, size=(40, 2000)), flips=1000)
    assert np.mean(p < 0.05) == pytest.approx(0.05, abs=0.02)


def test_rows_of_one_image_do_not_narrow_the_interval():
    """Four captions that always fail or succeed together say no more than one."""
    gain, zero = np.random.default_rng(0).normal(0.1, 0.3, size=50), np.zeros(50)
    found = []
    for captions in (1, 4):
        of = clusters(np.repeat(np.arange(50), captions).tolist())
        none, gains = (ByDirection(zero, np.repeat(each, captions)) for each in (zero, gain))
        found.append(difference(none, gains, of)["text_to_image"])
    assert found[1].interval == pytest.approx(found[0].interval)
    assert found[1].p == found[0].p


def test_the_interval_is_that_of_the_normal_where_there_are_many():
    gain, zero = np.random.default_rng(0).normal(0.1, 0.3, size=2000), np.zeros(2000)
    none, gains = ByDirection(zero, zero), ByDirection(gain, zero)
    found = difference(none, gains, clusters(list(range(2000))))["image_to_text"]
    half = 1.96 * gain.std() / np.sqrt(2000)
    assert found.interval == pytest.approx((gain.mean() - half, gain.mean() + half), abs=0.002)


def test_the_same_ranks_give_the_same_verdict_beside_any_others():
    generator = np.random.default_rng(0)
    one, two = (ByDirection(*generator.random((2, 30))) for _ in range(2))
    of = clusters(list(range(30)))
    beside = paired_differences(one, [one, two], of)[1]["mean"]
    alone = difference(one, two, of)["mean"]
    assert beside.p == alone.p
    assert beside.interval == pytest.approx(alone.interval)


def test_holm_steps_down_keeps_the_order_and_stops_at_one():
    # By hand: 0.01 * 4, 0.02 * 3, 0.03 * 2 raised to 0.06, 0.9 * 1.
    assert holm(np.array([0.9, 0.02, 0.01, 0.03])).tolist() == pytest.approx(
        [0.9, 0.06, 0.04, 0.06]
    )
    assert holm(np.array([0.6, 0.7])).tolist() == [1.0, 1.0]


def test_holm_is_over_the_methods():
    generator = np.random.default_rng(0)
    many = [ByDirection(*generator.random((2, 40))) for _ in range(4)]
    found = paired_differences(many[0], many[1:], clusters(list(range(40))))
    for part in ("image_to_text", "text_to_image", "mean"):
        p = np.array([each[part].p for each in found])
        assert [each[part].holm for each in found] == holm(p).tolist()
    assert paired_differences(many[0], [], clusters(list(range(40)))) == []


@pytest.mark.parametrize(
    ("first", "others", "paired", "interval"),
    [
        ([0.0], [0.2, -0.2], False, (-0.2, 0.2)),
        # Seeds of both methods are drawn, so the ends are further apart than those of one method.
        ([0.2, -0.2], [0.2, -0.2], False, (-0.4, 0.4)),
        ([0.2, -0.2], [0.2, -0.2], True, (0, 0)),  # what a seed does to both is no difference
        ([0.2, -0.2], [-0.2, 0.2], True, (-0.4, 0.4)),
    ],
)
def test_the_interval_over_seeds_covers_other_trainings(first, others, paired, interval):
    """Seeds are better or worse on every image: images say nothing, seeds everything."""
    made = ([reciprocals([0.5 + d] * 40, [0.5 + d] * 40) for d in each] for each in (first, others))
    found = seed_intervals(*made, clusters(range(40)), paired=paired)["mean"]
    assert found == pytest.approx(interval)


def test_with_one_seed_each_the_interval_is_that_over_images():
    of = clusters([0, 0, 1, 2, 3], group=[0, 0, 1, 1])
    generator = np.random.default_rng(5)
    one, other = (reciprocals(generator.random(4), generator.random(5)) for _ in range(2))
    (found,) = paired_differences(one, [other], of)
    intervals = seed_intervals([one], [other], of, paired=True)
    assert all(intervals[part] == pytest.approx(found[part].interval) for part in intervals)


def test_the_interval_over_categories_draws_whole_categories():
    """Two categories of two queries each, +0.5 and -0.1: a draw has both, or one of them twice."""
    sums = np.array([[[1.0, 1.0]], [[-0.2, -0.2]]])
    (found,) = unit_intervals(sums, np.full((2, 2), 2.0), np.zeros(2, dtype=int))
    assert found["mean"] == pytest.approx((-0.1, 0.5))
