"""Results with given ranks, and the metrics that these give."""

import dataclasses

import numpy as np

from benchmark.rank_metrics import DIRECTIONS, ByDirection, rank_metrics
from benchmark.result import QueryRanks, query_groups


def with_ranks(result, to_text, to_image):
    """Return a result with these strict and caption ranks of its images and of its rows."""
    ranks = ByDirection(np.array(to_text), np.array(to_image))
    computed = rank_metrics(ranks, ranks, query_groups(result))
    sides = {
        way: dataclasses.replace(
            result.metrics.direction(way),
            strict=computed.strict[way],
            caption=computed.caption[way],
            interval=computed.interval[way],
            recall_expected=None,
        )
        for way in DIRECTIONS
    }
    metrics = dataclasses.replace(
        result.metrics,
        **sides,
        rsum=computed.rsum,
        rsum_interval=computed.rsum_interval,
        by_domain=dict(zip(result.metrics.by_domain, computed.by_domain, strict=True)),
    )
    text = {way: " ".join(map(str, each)) for way, each in zip(DIRECTIONS, ranks, strict=True)}
    written = {way: QueryRanks(each, each) for way, each in text.items()}
    return dataclasses.replace(result, metrics=metrics, ranks=written)
