"""From ranks to metrics: recalls, MRR, ranks, ceilings, intervals, breakdowns.

R@K is the share of queries that have a relevant item among the first K, as the field uses the word recall.
All values are fractions; reports print percent. With several domains, each number is the unweighted mean
over the domains, each with its own gallery, as in the DCAR paper (arXiv 2508.04028).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from benchmark.evaluation.intervals import score_interval
from benchmark.evaluation.ranking import BothRanks, Ranks
from benchmark.evaluation.score_tiles import Floats
from benchmark.result import (
    DIRECTIONS,
    KS,
    RECALLS,
    Direction,
    Interval,
    RetrievalMetrics,
    Share,
    Summary,
)
from benchmark.settings import Gallery
from fdrd.dataset import Indices, RetrievalDataset


def summarize(ranks: Indices) -> Summary:
    """Return recalls and averages of ranks.

    Raises:
        ValueError: there are no ranks.

    >>> summarize(np.array([1, 2, 4, 20])).mrr
    0.45
    """
    if not len(ranks):
        raise ValueError("no queries, so no recall")
    return Summary(
        queries=len(ranks),
        recall=recalls(ranks),
        mrr=float(np.mean(1 / ranks)),
        median_rank=float(np.median(ranks)),
        mean_rank=float(np.mean(ranks)),
    )


def recalls(ranks: Indices) -> dict[str, float]:
    """Return the share of ranks up to each K.

    >>> recalls(np.array([1, 6]))
    {'R@1': 0.5, 'R@5': 0.5, 'R@10': 1.0}
    """
    return {f"R@{k}": float(np.mean(ranks <= k)) for k in KS}


def measure(
    ranks: BothRanks,
    dataset: RetrievalDataset,
    gallery: Gallery,
    hard_negatives: dict[str, Share],
) -> RetrievalMetrics:
    """Return all metrics of a split from the ranks of its queries."""
    image = dataset.pairs[:, 0]
    # Per direction: the image and the category of each query.
    query_image = (np.arange(len(dataset.image_digests)), image)
    query_category = (dataset.image_category, dataset.row_category)
    groups = [0] if gallery == "joint" else range(len(dataset.domains))
    domain = np.zeros_like(dataset.image_domain) if gallery == "joint" else dataset.image_domain
    parts = [
        BothRanks(*(r[domain[of] == group] for r, of in zip(ranks, query_image, strict=True)))
        for group in groups
    ]
    clusters = [
        tuple(np.unique(of[domain[of] == group], return_inverse=True)[1] for of in query_image)
        for group in groups
    ]
    tables = [_by_image(part, of) for part, of in zip(parts, clusters, strict=True)]

    def interval(*columns: int) -> Interval:
        """Return the interval of the mean of these columns over the domains."""
        return score_interval([(sums[:, columns], counts[:, columns]) for sums, counts in tables])

    names = [*RECALLS, "mrr"]
    directions = [
        _direction(
            [part[side] for part in parts],
            {name: interval(len(names) * side + n) for n, name in enumerate(names)},
        )
        for side in (0, 1)
    ]
    low, high = interval(0, 1, 2, 4, 5, 6)  # the recalls
    return RetrievalMetrics(
        gallery=gallery,
        image_to_text=directions[0],
        text_to_image=directions[1],
        rsum=sum(sum(direction.strict.recall.values()) for direction in directions),
        rsum_interval=(6 * low, 6 * high),
        hard_negatives=hard_negatives,
        by_domain=_breakdown(
            ranks, tuple(dataset.image_domain[of] for of in query_image), dataset.domains
        ),
        by_category=_breakdown(ranks, query_category, dataset.categories),
    )


def mean_mrr(ranks: BothRanks) -> float:
    """Return the strict MRR averaged over both directions, which selects the best state."""
    return float(np.mean([np.mean(1 / direction.strict) for direction in ranks]))


def _direction(parts: Sequence[Ranks], interval: dict[str, Interval]) -> Direction:
    def mean(value: Callable[[Ranks], float]) -> float:
        return float(np.mean([value(part) for part in parts]))

    ceilings = [recalls(part.ceiling) for part in parts]
    expected = np.mean([part.expected.mean(axis=0) for part in parts], axis=0)
    known = not any(np.isnan(part.category).any() for part in parts)
    return Direction(
        strict=_mean([summarize(part.strict) for part in parts]),
        caption=_mean([summarize(part.caption) for part in parts]),
        ceiling={name: float(np.mean([each[name] for each in ceilings])) for name in ceilings[0]},
        category_recall_1=mean(lambda part: float(np.mean(part.category))) if known else None,
        interval=interval,
        recall_expected=dict(zip(RECALLS, expected.tolist(), strict=True)),
    )


def _mean(summaries: Sequence[Summary]) -> Summary:
    """Return the unweighted mean over domains; queries are summed."""
    return Summary(
        queries=sum(each.queries for each in summaries),
        recall={
            name: float(np.mean([each.recall[name] for each in summaries]))
            for name in summaries[0].recall
        },
        mrr=float(np.mean([each.mrr for each in summaries])),
        median_rank=float(np.mean([each.median_rank for each in summaries])),
        mean_rank=float(np.mean([each.mean_rank for each in summaries])),
    )


def _breakdown(
    ranks: BothRanks, of_query: tuple[Indices, ...], names: Sequence[str]
) -> dict[str, dict[str, Summary]]:
    """Return strict metrics of the queries of each domain or category that occurs."""
    return {
        names[number]: {
            direction: summarize(side.strict[of == number])
            for direction, side, of in zip(DIRECTIONS, ranks, of_query, strict=True)
        }
        for number in np.unique(of_query[0])
        if number >= 0
    }


def _by_image(ranks: BothRanks, of_query: tuple[Indices, ...]) -> tuple[Floats, Floats]:
    """Return sums and numbers, (I, 8), of the recalls and MRR of both directions, by image."""
    n_images = int(of_query[0].max()) + 1
    sums, counts = [], []
    for side, of in zip(ranks, of_query, strict=True):
        values = [*(side.strict <= k for k in KS), 1 / side.strict]
        sums += [np.bincount(of, weights=value, minlength=n_images) for value in values]
        counts += [np.bincount(of, minlength=n_images)] * len(values)
    return np.stack(sums, axis=1), np.stack(counts, axis=1)
