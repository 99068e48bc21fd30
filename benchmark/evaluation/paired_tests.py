"""Paired significance tests: is one method better than another on the same queries?

The value of a query is its reciprocal rank, averaged over the seeds of a method. The unit of resampling is
an image with all its queries (its own and those of its captions), because these are not independent. Images
are weighted as in the result tables (mean over queries, then over domains), so a difference is the
difference of two printed MRRs.

The test is a paired randomization test (Smucker et al. 2007): it flips the sign of each image's difference
at random. The interval is a bootstrap over images. Both generalize to other images, not to other training
seeds or categories, for which there are intervals of their own. All seeds are fixed, so equal ranks give equal
verdicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.rank_metrics import DIRECTIONS, ByDirection, Floats, Indices, Interval, QueryGroups

PARTS = (*DIRECTIONS, "mean")
"""What is compared: each direction, and the mean of both, which decides the verdict."""

FLIPS = 50_000
DRAWS = 2_000
_BLOCK = 2_000_000
"""Numbers drawn at a time."""


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
    over_seeds: Interval | None = None
    """95 %, two-level bootstrap over training seeds and images; None if both methods have one seed"""
    over_categories: Interval | None = None
    """95 %, bootstrap over categories; None if they do not cover the queries of one gallery"""


def paired_differences(
    reference: ByDirection[Floats], others: Sequence[ByDirection[Floats]], groups: QueryGroups
) -> list[dict[str, Difference]]:
    """Return the difference of each method to the reference, for each of `PARTS`, from 1 / rank of every query.

    Holm's correction covers the methods, separately in each part.
    """
    if not others:
        return []
    sums = np.stack([_sums(other, groups) - _sums(reference, groups) for other in others], axis=1)
    counts = _counts(groups)
    shares = _with_mean(sums / _totals(counts, groups.group_of_image)[:, None])
    observed = shares.sum(axis=0)  # (methods, 3)
    p = sign_flip_p(shares.reshape(len(sums), -1)).reshape(observed.shape)
    intervals = unit_intervals(sums, counts, groups.group_of_image)
    adjusted = np.stack([holm(column) for column in p.T], axis=1)
    return [
        {
            part: Difference(
                float(observed[method, column]),
                intervals[method][part],
                float(p[method, column]),
                float(adjusted[method, column]),
            )
            for column, part in enumerate(PARTS)
        }
        for method in range(len(others))
    ]


def unit_intervals(sums: Floats, counts: Floats, group: Indices) -> list[dict[str, Interval]]:
    """Return 95 % bootstrap intervals of each method's difference, for each of `PARTS`.

    Args:
        sums: (U, methods, 2) sum of the differences over the queries of each unit, e.g. an image or a category.
        counts: (U, 2) number of these queries.
        group: (U,) group in which a unit is averaged.
    """
    return _quantiles(_with_mean(_bootstrap(sums, counts, group)))


def seed_intervals(
    reference: Sequence[ByDirection[Floats]],
    other: Sequence[ByDirection[Floats]],
    groups: QueryGroups,
    *,
    paired: bool,
) -> dict[str, Interval]:
    """Return 95 % intervals of a difference that generalize to other seeds and other images.

    Each sample draws seeds, and then images. With few seeds the interval is still too narrow, because a bootstrap of
    S values has (S - 1) / S of their variance.

    Args:
        reference: values of each query, for each seed.
        other: those of the other method.
        groups: images of the queries.
        paired: whether both have the same seeds, in the same order. A seed draws the training images and their order,
            so a sample takes the same seeds of both; otherwise it draws them independently of each other.
    """
    sums = np.stack([_sums(each, groups) for each in (*other, *reference)], axis=1)
    of_seed = _bootstrap(sums, _counts(groups), groups.group_of_image)
    generator = np.random.default_rng(1)  # 0 draws the images

    def drawn(seeds: int) -> Floats:
        return generator.multinomial(seeds, [1 / seeds] * seeds, size=DRAWS) / seeds

    weights = drawn(len(other))
    of_reference = weights if paired else drawn(len(reference))
    difference = np.einsum("ds,dsk->dk", weights, of_seed[:, : len(other)])
    difference -= np.einsum("ds,dsk->dk", of_reference, of_seed[:, len(other) :])
    (found,) = _quantiles(_with_mean(difference)[:, None])
    return found


def _quantiles(drawn: Floats) -> list[dict[str, Interval]]:
    """Return the 95 % intervals of (draws, methods, 3) differences."""
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return [
        {part: (float(a), float(b)) for part, a, b in zip(PARTS, *ends, strict=True)}
        for ends in zip(low, high, strict=True)
    ]


def _sums(values: ByDirection[Floats], groups: QueryGroups) -> Floats:
    """Return (I, 2) the sums of each image, which has one query of its own and one per row."""
    images = len(groups.group_of_image)
    by_row = np.bincount(groups.image_of_row, values.text_to_image, minlength=images)
    return np.stack([values.image_to_text, by_row], axis=1)


def _counts(groups: QueryGroups) -> Floats:
    """Return (I, 2) the number of queries of each image."""
    one = ByDirection(np.ones(len(groups.group_of_image)), np.ones(len(groups.image_of_row)))
    return _sums(one, groups)


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
    units = len(shares)
    exact = 2 ** min(units, 62) <= flips
    generator, block = np.random.default_rng(0), max(1, _BLOCK // max(units, 1))
    extreme = np.zeros(shares.shape[1])
    for start in range(0, 1 if exact else flips, block):
        if exact:  # all patterns at once
            heads = np.arange(2**units)[:, None] >> np.arange(units) & 1
        else:
            shape = (min(block, flips - start), units)
            heads = generator.integers(2, size=shape, dtype=np.int8)
        signs = np.where(heads, -1.0, 1.0)
        extreme += np.count_nonzero(np.abs(signs @ shares) >= threshold, axis=0)
    p: Floats = extreme / 2**units if exact else (1 + extreme) / (1 + flips)
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
    groups, index = np.unique(group, return_inverse=True)
    totals = np.zeros((len(groups), 2))
    np.add.at(totals, index, counts)
    return totals[index] * len(groups)


def _bootstrap(sums: Floats, counts: Floats, group: Indices) -> Floats:
    """Return (DRAWS, methods, 2) differences under resampling of the images of each group."""
    means = np.zeros((DRAWS, *sums.shape[1:]))
    generator = np.random.default_rng(0)
    groups = np.unique(group)
    for index in groups:
        of_group, queries = sums[group == index], counts[group == index]
        units = len(of_group)
        block = max(1, _BLOCK // units)
        for start in range(0, DRAWS, block):
            size = min(block, DRAWS - start)
            drawn = generator.integers(units, size=(size, units)) + units * np.arange(size)[:, None]
            times = np.bincount(drawn.ravel(), minlength=size * units).reshape(size, units)
            total = (times @ of_group.reshape(units, -1)).reshape(size, *of_group.shape[1:])
            means[start : start + size] += total / (times @ queries)[:, None] / len(groups)
    return means
