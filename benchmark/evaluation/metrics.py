"""From ranks to the numbers of a table: recalls, MRR, ranks, ceilings, intervals, breakdowns.

R@K is the share of queries that have a relevant item among the first K, as the field uses the word
recall. All values are fractions; a report prints percent. With several domains each number is the
unweighted mean over the domains, each with a gallery of its own, as in the paper (arXiv
2508.04028).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.evaluation.galleries import Gallery
from benchmark.evaluation.ranking import BothRanks, Ranks
from benchmark.evaluation.score_blocks import Floats
from fdrd.dataset import Indices, RetrievalDataset

KS = (1, 5, 10)
DIRECTIONS = ("image_to_text", "text_to_image")
Interval = tuple[float, float]


@dataclass(frozen=True)
class Summary:
    """What a list of ranks comes to."""

    queries: int
    recall: dict[str, float]
    """`R@1`, `R@5`, `R@10`"""
    mrr: float
    """mean of 1 / rank"""
    median_rank: float
    mean_rank: float


def summarise(ranks: Indices) -> Summary:
    """Recalls and averages of some ranks.

    Raises:
        ValueError: there are none.

    >>> summarise(np.array([1, 2, 4, 20])).mrr
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
    """Share of the ranks up to each K.

    >>> recalls(np.array([1, 6]))
    {'R@1': 0.5, 'R@5': 0.5, 'R@10': 1.0}
    """
    return {f"R@{k}": float(np.mean(ranks <= k)) for k in KS}


@dataclass(frozen=True)
class Direction:
    """One direction of retrieval."""

    strict: Summary
    """relevant: rows of the same image"""
    caption: Summary
    """relevant too: rows with an equal caption"""
    ceiling: dict[str, float]
    """strict recalls that a perfect method gets, below one where images share a caption"""
    category_recall_1: float
    """share of queries whose first answer has the right category"""
    category_map: float
    """mean average precision when items of the right category are the relevant ones"""
    interval: dict[str, Interval]
    """95 % bootstrap interval over images, of the strict recalls and `mrr`"""


@dataclass(frozen=True)
class Share:
    """Rows whose caption scores above all its negatives of one kind; a tie is a loss."""

    accuracy: float
    rows: int
    chance: float
    """what guessing gets"""
    blind: float | None
    """accuracy of the text-only baseline (`evaluation/text_only.py`); None without training captions"""


@dataclass(frozen=True)
class RetrievalMetrics:
    """Everything measured about one method on one split."""

    gallery: Gallery
    image_to_text: Direction
    text_to_image: Direction
    rsum: float
    """sum of the six strict recalls, 6 at most"""
    rsum_interval: Interval
    hard_negatives: dict[str, Share]
    """by `all`, kind and `attribute: type`; empty where the split has no negatives"""
    by_domain: dict[str, dict[str, Summary]]
    """domain -> direction -> strict numbers"""
    by_category: dict[str, dict[str, Summary]]
    """category -> direction -> strict numbers of the queries of that category"""


def measure(
    ranks: BothRanks,
    dataset: RetrievalDataset,
    gallery: Gallery,
    hard_negatives: dict[str, Share],
    *,
    draws: int = 1000,
) -> RetrievalMetrics:
    """The numbers of a split from the ranks of its queries."""
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
    drawn = _bootstrap(parts, clusters, draws)  # (draws, 8)
    names = [*(f"R@{k}" for k in KS), "mrr"]
    directions = [
        _direction(
            [part[side] for part in parts],
            dict(zip(names, map(_interval, drawn[:, 4 * side : 4 * side + 4].T), strict=True)),
        )
        for side in (0, 1)
    ]
    recall_columns = [0, 1, 2, 4, 5, 6]
    return RetrievalMetrics(
        gallery=gallery,
        image_to_text=directions[0],
        text_to_image=directions[1],
        rsum=sum(sum(direction.strict.recall.values()) for direction in directions),
        rsum_interval=_interval(drawn[:, recall_columns].sum(axis=1)),
        hard_negatives=hard_negatives,
        by_domain=_breakdown(
            ranks, tuple(dataset.image_domain[of] for of in query_image), dataset.domains
        ),
        by_category=_breakdown(ranks, query_category, dataset.categories),
    )


def mean_mrr(ranks: BothRanks) -> float:
    """Strict MRR, averaged over both directions: what the best epoch is chosen by."""
    return float(np.mean([np.mean(1 / direction.strict) for direction in ranks]))


def _direction(parts: Sequence[Ranks], interval: dict[str, Interval]) -> Direction:
    def mean(value: Callable[[Ranks], float]) -> float:
        return float(np.mean([value(part) for part in parts]))

    ceilings = [recalls(part.ceiling) for part in parts]
    return Direction(
        strict=_mean([summarise(part.strict) for part in parts]),
        caption=_mean([summarise(part.caption) for part in parts]),
        ceiling={name: float(np.mean([each[name] for each in ceilings])) for name in ceilings[0]},
        category_recall_1=mean(lambda part: float(np.mean(part.category == 1))),
        category_map=mean(lambda part: float(np.mean(part.average_precision))),
        interval=interval,
    )


def _mean(summaries: Sequence[Summary]) -> Summary:
    """Unweighted mean over domains; the queries are added up."""
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
    """Strict numbers of the queries of each domain or category that occurs."""
    return {
        names[number]: {
            direction: summarise(side.strict[of == number])
            for direction, side, of in zip(DIRECTIONS, ranks, of_query, strict=True)
        }
        for number in np.unique(of_query[0])
    }


def _bootstrap(
    parts: Sequence[BothRanks], clusters: Sequence[tuple[Any, ...]], draws: int
) -> Floats:
    """(draws, 8) strict recalls and MRR of both directions under resampling of the images.

    Captions of one image are not independent, so an image is drawn with all its queries; each
    domain is resampled by itself. The seed is fixed: the interval is a property of the ranks.
    """
    means = np.zeros((draws, 8))
    generator = np.random.default_rng(0)
    for part, cluster in zip(parts, clusters, strict=True):
        n_images = int(cluster[0].max()) + 1
        sums, counts = [], []
        for side, of in zip(part, cluster, strict=True):
            values = [*(side.strict <= k for k in KS), 1 / side.strict]
            sums += [np.bincount(of, weights=value, minlength=n_images) for value in values]
            counts += [np.bincount(of, minlength=n_images)] * len(values)
        table = np.stack([*sums, *counts], axis=1)  # (images, 16)
        for draw in range(draws):
            times = np.bincount(generator.integers(n_images, size=n_images), minlength=n_images)
            total = times @ table
            means[draw] += total[:8] / total[8:] / len(parts)
    return means


def _interval(draws: Floats) -> Interval:
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)
