"""Is one method better than another on the same queries? Paired differences, and what chance gives.

The value of a query is its reciprocal rank, averaged over the seeds of a method. The unit is an
image with all its queries, its own and those of its captions: they succeed and fail together, so they
are not independent. A difference weighs images as the table does (the mean over queries, then over
domains), so it is the difference of two printed MRRs.

The test (a paired randomisation, as Smucker et al. 2007 have it) flips the sign of each image's
difference at random, as if the two methods were exchangeable there; the interval resamples images.
Both speak of other images with these trained methods, not of other trainings. Their seeds are
fixed: the same ranks give the same verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmark.evaluation.metrics import DIRECTIONS, Interval
from benchmark.evaluation.score_blocks import Floats
from fdrd.dataset import Indices

PARTS = (*DIRECTIONS, "mean")
"""What is compared: each direction, and the mean of both, which is what a verdict goes by."""

FLIPS = 50_000
DRAWS = 2_000
_BLOCK = 2_000_000
"""Numbers that are drawn at a time."""


class Reciprocals(NamedTuple):
    """1 / rank of every query: of I images, and of N rows."""

    image_to_text: Floats
    text_to_image: Floats


@dataclass(frozen=True, eq=False)
class Clusters:
    """Who belongs together.

    Attributes:
        image_of_row: (N,) image number of each row.
        group_of_image: (I,) number of the domain whose mean an image enters.
    """

    image_of_row: Indices
    group_of_image: Indices


@dataclass(frozen=True)
class Difference:
    """Of the MRR of two methods."""

    value: float
    interval: Interval
    """95 %, bootstrap over images"""
    p: float
    """two-sided: how often chance gives as much"""
    holm: float
    """the same, where several methods are compared (Holm 1979)"""


def paired_differences(
    reference: Reciprocals,
    others: Sequence[Reciprocals],
    clusters: Clusters,
    *,
    flips: int = FLIPS,
    draws: int = DRAWS,
) -> list[dict[str, Difference]]:
    """The difference of each method to the reference, for each of `PARTS`.

    Holm's correction is over the methods, in each part by itself.
    """
    if not others:
        return []
    # (I, methods, 2): the sums of each image, which has one query of its own and one per row.
    sums = np.stack(
        [
            np.stack(
                [
                    other.image_to_text - reference.image_to_text,
                    np.bincount(
                        clusters.image_of_row,
                        other.text_to_image - reference.text_to_image,
                        minlength=len(clusters.group_of_image),
                    ),
                ],
                axis=1,
            )
            for other in others
        ],
        axis=1,
    )
    counts = np.stack(
        [np.ones(len(sums)), np.bincount(clusters.image_of_row, minlength=len(sums))], axis=1
    )
    shares = _with_mean(sums / _totals(counts, clusters.group_of_image)[:, None])
    observed = shares.sum(axis=0)  # (methods, 3)
    p = sign_flip_p(shares.reshape(len(sums), -1), flips).reshape(observed.shape)
    drawn = _with_mean(_bootstrap(sums, counts, clusters.group_of_image, draws))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    adjusted = np.stack([holm(column) for column in p.T], axis=1)
    return [
        {
            part: Difference(
                float(observed[method, column]),
                (float(low[method, column]), float(high[method, column])),
                float(p[method, column]),
                float(adjusted[method, column]),
            )
            for column, part in enumerate(PARTS)
        }
        for method in range(len(others))
    ]


def sign_flip_p(shares: Floats, flips: int = FLIPS) -> Floats:
    """Two-sided p of each column's sum, if each row's sign were a coin's.

    Every pattern of signs is tried where there are no more than `flips`; else so many are drawn,
    and the one at hand counts among them, so that p is never 0.

    Args:
        shares: (units, columns) what each unit adds to each sum.
        flips: random patterns.

    >>> sign_flip_p(np.array([[1.0, 1.0], [2.0, -2.0], [3.0, 1.0]])).tolist()
    [0.25, 1.0]
    """
    shares = shares[np.any(shares != 0, axis=1)]  # the sign of nothing changes nothing
    # Sums of the same numbers in another order may differ in their last bits.
    threshold = np.abs(shares.sum(axis=0)) - 1e-12 * np.abs(shares).sum(axis=0)
    exact = 2 ** min(len(shares), 62) <= flips
    patterns = _all_signs(len(shares)) if exact else _random_signs(len(shares), flips)
    extreme = np.zeros(shares.shape[1])
    for signs in patterns:
        extreme += np.count_nonzero(np.abs(signs @ shares) >= threshold, axis=0)
    p: Floats = extreme / 2 ** len(shares) if exact else (1 + extreme) / (1 + flips)
    return p


def holm(p: Floats) -> Floats:
    """Step-down correction (Holm 1979) of the p of several tests.

    >>> holm(np.array([0.04, 0.01, 0.03])).tolist()
    [0.06, 0.03, 0.06]
    """
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(adjusted, 1)


def _with_mean(both: Floats) -> Floats:
    """The two directions of the last axis, and their mean as a third."""
    return np.concatenate([both, both.mean(axis=-1, keepdims=True)], axis=-1)


def _totals(counts: Floats, group: Indices) -> Floats:
    """(I, 2) what an image's sums are divided by: its group's queries, and the number of groups."""
    numbers, place = np.unique(group, return_inverse=True)
    totals = np.zeros((len(numbers), 2))
    np.add.at(totals, place, counts)
    return totals[place] * len(numbers)


def _all_signs(units: int) -> Iterator[Floats]:
    """All patterns of signs at once, (2 ** units, units)."""
    yield np.where(np.arange(2**units)[:, None] >> np.arange(units) & 1, -1.0, 1.0)


def _random_signs(units: int, flips: int) -> Iterator[Floats]:
    """Blocks of patterns, (flips, units) in all."""
    generator = np.random.default_rng(0)
    block = max(1, _BLOCK // units)
    for start in range(0, flips, block):
        shape = (min(block, flips - start), units)
        yield np.where(generator.integers(2, size=shape, dtype=np.int8), -1.0, 1.0)


def _bootstrap(sums: Floats, counts: Floats, group: Indices, draws: int) -> Floats:
    """(draws, methods, 2) differences under resampling of the images of each group."""
    means = np.zeros((draws, *sums.shape[1:]))
    generator = np.random.default_rng(0)
    numbers = np.unique(group)
    for number in numbers:
        mine, queries = sums[group == number], counts[group == number]
        n_images = len(mine)
        block = max(1, _BLOCK // n_images)
        for start in range(0, draws, block):
            size = min(block, draws - start)
            drawn = generator.integers(n_images, size=(size, n_images))
            drawn += n_images * np.arange(size)[:, None]
            times = np.bincount(drawn.ravel(), minlength=size * n_images).reshape(size, n_images)
            total = (times @ mine.reshape(n_images, -1)).reshape(size, *mine.shape[1:])
            means[start : start + size] += total / (times @ queries)[:, None] / len(numbers)
    return means
