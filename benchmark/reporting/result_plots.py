"""The plots of a comparison: recall curves, the distribution of ranks, and the curves of each training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmark.reporting.comparison import Comparison, Row
from benchmark.reporting.svg_plots import Plot, Series
from benchmark.result import DIRECTIONS

if TYPE_CHECKING:  # imports torch
    from benchmark.evaluation.score_blocks import Floats

_KS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100)
_BINS = (1, 2, 3, 6, 11, 21, 51, 101)
_TITLES = {"image_to_text": "image to text", "text_to_image": "text to image"}


def plots_of(comparison: Comparison) -> list[Plot]:
    """Return all plots of a comparison."""
    found = []
    for direction in DIRECTIONS:
        ranks = {row.label: row.mean_ranks(direction) for row in comparison.rows}
        found += [_recall(direction, ranks), _distribution(direction, ranks)]
    return found + _training(comparison.rows)


def _recall(direction: str, ranks: dict[str, Floats]) -> Plot:
    most = max(map(len, ranks.values()))
    ks = [k for k in _KS if k <= most] or [1]
    series = [
        Series(label, [100 * float(np.mean(of <= k)) for k in ks], place)
        for place, (label, of) in enumerate(ranks.items())
    ]
    title = f"Recall at K, {_TITLES[direction]}"
    return Plot(f"recall-{direction}", title, ks, series, "K", "percent", log=True)


def _distribution(direction: str, ranks: dict[str, Floats]) -> Plot:
    ends = [*_BINS[1:], np.inf]
    labels = [
        f"{a}" if b == a + 1 else f"{a}-{b - 1:.0f}" if b < np.inf else f"over {a - 1}"
        for a, b in zip(_BINS, ends, strict=True)
    ]
    series = [
        Series(label, (100 * np.histogram(of, bins=[*_BINS, np.inf])[0] / len(of)).tolist(), place)
        for place, (label, of) in enumerate(ranks.items())
    ]
    title = f"Distribution of ranks, {_TITLES[direction]}"
    return Plot(
        f"ranks-{direction}", title, labels, series, "rank", "percent of queries", bars=True
    )


def _training(rows: Sequence[Row]) -> list[Plot]:
    """Return the curves of the first seed of each method that was trained."""
    mrr, loss = [], []
    for place, row in enumerate(rows):
        if (fit := row.results[0].fit) and fit.epochs:
            mrr.append(Series(row.label, [epoch.validation_mrr for epoch in fit.epochs], place))
            loss.append(Series(row.label, [epoch.loss for epoch in fit.epochs], place))
    if not mrr:
        return []
    epochs = list(range(1, 1 + max(len(each.values) for each in mrr)))
    return [
        Plot("training-mrr", "Validation MRR while training", epochs, mrr, "epoch", "MRR"),
        Plot("training-loss", "Training loss", epochs, loss, "epoch", "loss"),
    ]
