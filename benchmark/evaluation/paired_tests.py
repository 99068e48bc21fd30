"""Paired significance tests: is one method better than another on the same queries?

The value of a query is its reciprocal rank, averaged over the seeds of a method. The unit of resampling is
an image with all its queries (its own and those of its captions), because these are not independent. Images
are weighted as in the result tables (mean over queries, then over domains), so a difference is the
difference of two printed MRRs.

The test is a paired randomization test (Smucker et al. 2007): it flips the sign of each image's difference
at random. The interval is a bootstrap over images. Both generalize to other images, not to other training
seeds. Their seeds are fixed, so equal ranks give equal verdicts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmark.evaluation.bootstrap import resampled_counts
from benchmark.result import DIRECTIONS, Interval

if TYPE_CHECKING:  # these import torch
    from benchmark.evaluation.score_blocks import Floats
    from fdrd.dataset import Indices

PARTS = (*DIRECTIONS, "mean")
"""What is compared: each direction, and the mean of both, which decides the verdict."""

FLIPS = 50_000
DRAWS = 2_000
_BLOCK = 2_000_000
"""Numbers drawn at a time."""


class Reciprocals(NamedTuple):
    """1 / rank of every query: of I images, and of N rows."""

    image_to_text: Floats
    text_to_image: Floats


@dataclass(frozen=True, eq=False)
class Clusters:
    """Which queries belong together.

    Attributes:
        image_of_row: (N,) image number of each row.
        group_of_image: (I,) number of the domain that an image is averaged in.
    """

    image_of_row: Indices
    group_of_image: Indices


@dataclass(frozen=True)
class Difference:
    """Difference of the MRRs of two methods."""

    value: float
    interval: Interval
    """95 %, bootstrap over images"""
    p: float
    """two-sided"""
    holm: float
    """p corrected for the number of methods (Holm 1979)"""


def paired_differences(
    reference: Reciprocals,
    others: Sequence[Reciprocals],
    clusters: Clusters,
    *,
    flips: int = FLIPS,
    draws: int = DRAWS,
) -> list[dict[str, Difference]]:
    """Return the difference of each method to the reference, for each of `PARTS`.

    Holm's correction covers the methods, separately in each part.
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
    """Return the two-sided p of each column's sum under random signs of the rows.

    Every pattern of signs is tried if there are at most `flips`. Otherwise that many are drawn, and the
    observed one is counted too, so that p is never 0.

    Args:
        shares: (units, columns) contribution of each unit to each sum.
        flips: random patterns.

    >>> sign_flip_p(np.array([[1.0, 1.0], [2.0, -2.0], [3.0, 1.0]])).tolist()
    [0.25, 1.0]
    """
    shares = shares[np.any(shares != 0, axis=1)]  # signs of zeros do not matter
    # Sums of equal numbers in another order may differ in their last bits.
    threshold = np.abs(shares.sum(axis=0)) - 1e-12 * np.abs(shares).sum(axis=0)
    exact = 2 ** min(len(shares), 62) <= flips
    patterns = _all_signs(len(shares)) if exact else _random_signs(len(shares), flips)
    extreme = np.zeros(shares.shape[1])
    for signs in patterns:
        extreme += np.count_nonzero(np.abs(signs @ shares) >= threshold, axis=0)
    p: Floats = extreme / 2 ** len(shares) if exact else (1 + extreme) / (1 + flips)
    return p


def holm(p: Floats) -> Floats:
    """Return p values of several tests after the step-down correction of Holm (1979).

    >>> holm(np.array([0.04, 0.01, 0.03])).tolist()
    [0.06, 0.03, 0.06]
    """
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(adjusted, 1)


def _with_mean(both: Floats) -> Floats:
    """Append the mean of the two directions of the last axis."""
    return np.concatenate([both, both.mean(axis=-1, keepdims=True)], axis=-1)


def _totals(counts: Floats, group: Indices) -> Floats:
    """Return (I, 2) the divisor of an image's sums: the queries of its group times the number of groups."""
    numbers, place = np.unique(group, return_inverse=True)
    totals = np.zeros((len(numbers), 2))
    np.add.at(totals, place, counts)
    return totals[place] * len(numbers)


def _all_signs(units: int) -> Iterator[Floats]:
    """Yield all patterns of signs at once, (2 ** units, units)."""
    yield np.where(np.arange(2**units)[:, None] >> np.arange(units) & 1, -1.0, 1.0)


def _random_signs(units: int, flips: int) -> Iterator[Floats]:
    """Yield blocks of random patterns, (flips, units) in total."""
    generator = np.random.default_rng(0)
    block = max(1, _BLOCK // units)
    for start in range(0, flips, block):
        shape = (min(block, flips - start), units)
        yield np.where(generator.integers(2, size=shape, dtype=np.int8), -1.0, 1.0)


def _bootstrap(sums: Floats, counts: Floats, group: Indices, draws: int) -> Floats:
    """Return (draws, methods, 2) differences under resampling of the images of each group."""
    means = np.zeros((draws, *sums.shape[1:]))
    generator = np.random.default_rng(0)
    numbers = np.unique(group)
    for number in numbers:
        own, queries = sums[group == number], counts[group == number]
        for start, times in resampled_counts(generator, len(own), draws):
            total = (times @ own.reshape(len(own), -1)).reshape(len(times), *own.shape[1:])
            rows = slice(start, start + len(times))
            means[rows] += total / (times @ queries)[:, None] / len(numbers)
    return means
