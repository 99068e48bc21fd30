"""From ranks to the metrics of `benchmark.rank_metrics`, with their breakdowns.

R@K is the share of queries that have a relevant item among the first K, as the field uses the word recall.
All values are fractions; reports print percent. With several domains, each number is the unweighted mean
over the domains, each with its own gallery, as in the DCAR paper (arXiv 2508.04028).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmark.evaluation.ranking import Ranks
from benchmark.rank_metrics import (
    DIRECTIONS,
    PAIRS,
    ByDirection,
    QueryGroups,
    by_part,
    rank_metrics,
)
from benchmark.result import PairWins
from benchmark.retrieval_metrics import RetrievalMetrics, Share
from benchmark.settings import Gallery
from fdrd.dataset import RetrievalDataset
from fdrd.record import Kind


def measure(
    ranks: ByDirection[Ranks],
    dataset: RetrievalDataset,
    gallery: Gallery,
    hard_negatives: dict[str, Share],
    natural_pairs: Mapping[Kind, PairWins] | None = None,
) -> RetrievalMetrics:
    """Return all metrics of a split from the ranks of its queries."""
    groups = QueryGroups(dataset.pairs[:, 0], dataset.image_domain, gallery == "joint")
    arrays = {direction: vars(side) for direction, side in zip(DIRECTIONS, ranks, strict=True)}
    by_direction, by_domain = rank_metrics(arrays, groups)
    categories = [int(each) for each in np.unique(dataset.image_category) if each >= 0]
    by_category = by_part(
        arrays,
        ((dataset.image_category == each, dataset.row_category == each) for each in categories),
    )
    return RetrievalMetrics(
        by_direction=by_direction
        | {PAIRS[kind]: wins.metrics() for kind, wins in (natural_pairs or {}).items()},
        by_domain=dict(zip(dataset.domains, by_domain, strict=True)),
        by_category={
            dataset.categories[category]: sides
            for category, sides in zip(categories, by_category, strict=True)
        },
        hard_negatives=hard_negatives,
    )


def mean_mrr(ranks: ByDirection[Ranks]) -> float:
    """Return the strict MRR averaged over both directions, which selects the best state."""
    return float(np.mean([np.mean(1 / direction.strict) for direction in ranks]))
