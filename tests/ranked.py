"""Results with given ranks, and the metrics that these give."""

import dataclasses

import numpy as np

from benchmark.rank_metrics import DIRECTIONS, rank_metrics
from benchmark.result import QueryRanks, query_groups


def with_ranks(result, to_text, to_image):
    """Return a result with these strict and caption ranks of its images and of its rows."""
    sides = dict(zip(DIRECTIONS, (np.array(to_text), np.array(to_image)), strict=True))
    ranks = {way: {"strict": side, "caption": side} for way, side in sides.items()}
    by_direction, by_domain = rank_metrics(ranks, query_groups(result))
    metrics = dataclasses.replace(
        result.metrics,
        by_direction=by_direction,
        by_domain=dict(zip(result.metrics.by_domain, by_domain, strict=True)),
    )
    text = {way: " ".join(map(str, side)) for way, side in sides.items()}
    written = {way: QueryRanks(each, each) for way, each in text.items()}
    return dataclasses.replace(result, metrics=metrics, ranks=written)
