"""The plots of a comparison: recall curves, the distribution of ranks, and the curves of each training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from benchmark.reporting.comparison import Comparison, Row, label
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
    return found + _training(comparison.rows) + _by_shots(comparison.rows)


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
    """Return the training curves by optimizer step, means over seeds that were evaluated at the same steps."""
    mrr, loss = [], []
    for place, row in enumerate(rows):
        fits = [result.fit for result in row.results if result.fit and result.fit.epochs]
        if fits:
            # Files of version 0.1 know no steps, and their epochs are counted.
            steps = [epoch.step or n for n, epoch in enumerate(fits[0].epochs, 1)]
            fits = [
                fit
                for fit in fits
                if [e.step for e in fit.epochs] == [e.step for e in fits[0].epochs]
            ]
            courses = [[epoch.validation_mrr for epoch in fit.epochs] for fit in fits]
            losses = [[epoch.loss for epoch in fit.epochs] for fit in fits]
            untrained = [fit.untrained_mrr for fit in fits if fit.untrained_mrr is not None]
            first = [fmean(untrained)] if untrained else []
            at = [0] * len(first) + steps
            mrr.append(Series(row.label, [*first, *_means(courses)], place, at))
            loss.append(Series(row.label, _means(losses), place, steps))
    if not mrr:
        return []
    x = sorted({step for each in mrr for step in each.x})
    return [
        Plot("training-mrr", "Validation MRR while training", x, mrr, "optimizer steps", "MRR"),
        Plot("training-loss", "Training loss", x, loss, "optimizer steps", "loss"),
    ]


def _means(courses: Sequence[Sequence[float]]) -> list[float]:
    return [fmean(values) for values in zip(*courses, strict=True)]


def _by_shots(rows: Sequence[Row]) -> list[Plot]:
    """Return the MRR by training images per category, if there are several numbers of them."""
    found: dict[str, dict[int | None, float]] = defaultdict(dict)
    for row in rows:
        settings = row.results[0].settings
        found[label(replace(settings, shots=None))][settings.shots] = row.mrr("mean")
    numbers = {shots for of in found.values() for shots in of if shots is not None}
    untrained = {row.label for row in rows if row.results[0].settings.train is None}
    everything = any(None in of for name, of in found.items() if name not in untrained)
    x = sorted(numbers) + ([2 * max(numbers)] if numbers and everything else [])
    if len(x) < 2:
        return []
    series = []
    for place, (name, of) in enumerate(found.items()):
        if name in untrained:
            of = dict.fromkeys(x, of[None])
        at = [x[-1] if shots is None else shots for shots in of]
        order = sorted(range(len(at)), key=at.__getitem__)
        series.append(
            Series(name, [[*of.values()][n] for n in order], place, [at[n] for n in order])
        )
    names = {float(x[-1]): "all"} if everything else {}
    title = "MRR by shots, mean of both directions"
    return [
        Plot(
            "shots", title, x, series, "training images per category", "MRR", log=True, names=names
        )
    ]
