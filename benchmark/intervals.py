"""Confidence intervals of means over queries that lie between 0 and 1, such as recalls and MRR.

A bootstrap interval is [1, 1] if every query succeeds, and covers 83 % of the time for a recall of 0.02 on 100
images. The score interval of Wilson (1927) has neither flaw. The captions of one image fail together, so it is
given the effective number of queries (Korn and Graubard 1998), from the variance between images.
`tests/benchmark/evaluation/test_intervals.py` simulates the coverage.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_Z = 1.959964  # 97.5 % quantile of the normal distribution
ENOUGH_IMAGES = math.ceil((_Z / (2 * 0.05)) ** 2)
"""Images that a 95 % interval of at most 5 points to each side needs, whatever the recall."""
_NAMED = 3  # domains in a message


def few_images(split: str, images: Mapping[str, int]) -> str:
    """Return a sentence about the domains with too few images to measure a recall well; empty if there are none.

    >>> few_images("test", {"birds": 96, "cars": 385})
    'Few images: test of birds has 96. A recall may be off by 10 points (95 %); for 5 points, take 385 images.'
    >>> few_images("test", {"cars": 385})
    ''
    """
    small = sorted((count, domain) for domain, count in images.items() if count < ENOUGH_IMAGES)
    if not small:
        return ""
    named = ", ".join(f"{split} of {domain} has {count:,}" for count, domain in small[:_NAMED])
    more = f" and {len(small) - _NAMED} more domains" if len(small) > _NAMED else ""
    points = min(50, round(100 * _Z / (2 * math.sqrt(small[0][0]))))
    return (
        f"Few images: {named}{more}. A recall may be off by {points} points (95 %); for 5 points, take "
        f"{ENOUGH_IMAGES} images."
    )


def score_interval(domains: Sequence[tuple[Floats, Floats]]) -> tuple[float, float]:
    """Return the 95 % interval of a mean over domains, each the mean over M measures of the mean over queries.

    Args:
        domains: the sums over the queries of each image, (I, M), and the numbers of these queries, (I, M). A sum
            lies between 0 and its number.

    >>> low, high = score_interval([(np.ones((10, 1)), np.ones((10, 1)))])
    >>> round(low, 3), high
    (0.722, 1.0)
    """
    means = [sums.sum(axis=0) / counts.sum(axis=0) for sums, counts in domains]
    mean = float(np.mean([each.mean() for each in means]))
    spread = mean * (1 - mean)
    per_query = 0.0  # 1 / effective number of queries
    for (sums, counts), domain_mean in zip(domains, means, strict=True):
        images = len(sums)
        residuals = ((sums - domain_mean * counts) / counts.sum(axis=0)).mean(axis=1)  # (I,)
        # The variance says little if few images have successes, or few have failures. Then images count once.
        informative = min(np.any(sums > 0, axis=1).sum(), np.any(sums < counts, axis=1).sum())
        trust = informative**2 / (informative**2 + 0.5) if images > 1 else 0.0
        shrunk = (domain_mean.mean() * images + _Z**2 / 2) / (images + _Z**2)
        binomial = min(1.0, shrunk * (1 - shrunk) / spread) if spread else 1.0
        per_query += (1 - trust) * binomial / images
        if trust:
            per_query += trust * float(residuals @ residuals) / spread
    per_query = float(per_query) / len(domains) ** 2
    center = mean + _Z**2 / 2 * per_query
    half = _Z * math.sqrt(spread * per_query + (_Z * per_query / 2) ** 2)
    scale = 1 + _Z**2 * per_query
    return max(0.0, (center - half) / scale), min(1.0, (center + half) / scale)
