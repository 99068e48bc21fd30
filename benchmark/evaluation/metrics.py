"""From ranks to metrics: recalls, MRR, ranks, ceilings, intervals, breakdowns.

R@K is the share of queries that have a relevant item among the first K, as the field uses the word recall.
All values are fractions; reports print percent. With several domains, each number is the unweighted mean
over the domains, each with its own gallery, as in the DCAR paper (arXiv 2508.04028).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from benchmark.evaluation.ranking import BothRanks, Ranks
from benchmark.rank_metrics import (
    DIRECTIONS,
    RECALLS,
    ByDirection,
    QueryGroups,
    RankMetrics,
    Summary,
    rank_metrics,
    recalls,
    summarize,
)
from benchmark.result import Direction, RetrievalMetrics, Share
from benchmark.settings import Gallery
from fdrd.dataset import RetrievalDataset


def measure(
    ranks: BothRanks,
    dataset: RetrievalDataset,
    gallery: Gallery,
    hard_negatives: dict[str, Share],
) -> RetrievalMetrics:
    """Return all metrics of a split from the ranks of its queries."""
    groups = QueryGroups(dataset.pairs[:, 0], dataset.image_domain, gallery == "joint")
    strict, caption = (
        ByDirection(*(getattr(side, kind) for side in ranks)) for kind in ("strict", "caption")
    )
    computed = rank_metrics(strict, caption, groups)
    directions = []
    for side, name in enumerate(DIRECTIONS):
        parts = [ranks[side][chosen[side]] for chosen in groups.averaged()]
        directions.append(_direction(parts, computed, name))
    return RetrievalMetrics(
        gallery=gallery,
        image_to_text=directions[0],
        text_to_image=directions[1],
        rsum=computed.rsum,
        rsum_interval=computed.rsum_interval,
        hard_negatives=hard_negatives,
        by_domain=dict(zip(dataset.domains, computed.by_domain, strict=True)),
        by_category=_by_category(strict, dataset),
    )


def mean_mrr(ranks: BothRanks) -> float:
    """Return the strict MRR averaged over both directions, which selects the best state."""
    return float(np.mean([np.mean(1 / direction.strict) for direction in ranks]))


def _direction(parts: Sequence[Ranks], computed: RankMetrics, name: str) -> Direction:
    def mean(value: Callable[[Ranks], float]) -> float:
        return float(np.mean([value(part) for part in parts]))

    ceilings = [recalls(part.ceiling) for part in parts]
    expected = np.mean([part.expected.mean(axis=0) for part in parts], axis=0)
    known = not any(np.isnan(part.category).any() for part in parts)
    return Direction(
        strict=computed.strict[name],
        caption=computed.caption[name],
        ceiling={name: float(np.mean([each[name] for each in ceilings])) for name in ceilings[0]},
        category_recall_1=mean(lambda part: float(np.mean(part.category))) if known else None,
        interval=computed.interval[name],
        recall_expected=dict(zip(RECALLS, expected.tolist(), strict=True)),
    )


def _by_category(strict: ByDirection, dataset: RetrievalDataset) -> dict[str, dict[str, Summary]]:
    """Return strict metrics of the queries of each category that occurs."""
    of_query = (dataset.image_category, dataset.row_category)
    return {
        dataset.categories[number]: {
            direction: summarize(ranks[of == number])
            for direction, ranks, of in zip(DIRECTIONS, strict, of_query, strict=True)
        }
        for number in np.unique(dataset.image_category)
        if number >= 0
    }
