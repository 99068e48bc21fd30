"""The plots of a comparison: recall curves, the distribution of ranks, the curves of training runs, and MRR by shots.

MRR is in percent, as in the tables. Bands show the standard deviation over seeds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import fmean, stdev

import numpy as np

from benchmark.rank_metrics import DIRECTIONS
from benchmark.registry import role_of
from benchmark.reporting.comparison import Comparison, Row, group_results, label
from benchmark.reporting.plots import Plot, Series
from benchmark.result import BenchResult, FitLog

_KS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100)
_BINS = (1, 2, 3, 6, 11, 21, 51, 101)
_TITLES = {"image_to_text": "image to text", "text_to_image": "text to image"}
_MRR = "MRR in percent"


def named_plots(results: Sequence[BenchResult]) -> dict[str, Plot]:
    """Return all plots of results by the stem of their files."""
    return {
        f"{index}-{plot.name}": plot
        for index, comparison in enumerate(group_results(results), 1)
        for plot in plots_of(comparison)
    }


def plots_of(comparison: Comparison) -> list[Plot]:
    """Return all plots of a comparison, most of them for each number of shots."""
    names = dict.fromkeys(map(_name, comparison.rows))
    first = 0 if role_of(comparison.rows[0].method) == "reference" else 1
    colors = {name: index for index, name in enumerate(names, first)}
    groups = _by_training_images(comparison.rows)
    found = []
    for shots, rows in groups.items():
        images = f"{shots} training images per category" if shots else "all training images"
        plots = [plot for each in DIRECTIONS for plot in _rank_plots(each, rows, colors)]
        plots += _training(rows, colors)
        found += [
            replace(
                plot,
                name=plot.name + (f"-{shots or 'all'}-shots" if len(groups) > 1 else ""),
                title=plot.title + (f", {images}" if shots or len(groups) > 1 else ""),
            )
            for plot in plots
        ]
    return found + _by_shots(comparison.rows, colors)


def _name(row: Row) -> str:
    """Return the label of a row without its number of shots."""
    settings = row.results[0].settings
    return label(replace(settings, shots=None)) + row.label.removeprefix(label(settings))


def _is_trained(row: Row) -> bool:
    return row.results[0].settings.train is not None


def _by_training_images(rows: Sequence[Row]) -> dict[int | None, list[Row]]:
    """Return the rows by number of shots, in ascending order; those without training are in all groups."""
    numbers = {row.results[0].settings.shots for row in rows if _is_trained(row)} or {None}
    return {
        shots: [r for r in rows if not _is_trained(r) or r.results[0].settings.shots == shots]
        for shots in sorted(numbers, key=lambda shots: shots or np.inf)
    }


def _rank_plots(direction: str, rows: Sequence[Row], colors: dict[str, int]) -> list[Plot]:
    """Return recall at each K, and how many queries have which rank, as means over seeds."""
    ranks = {_name(row): row.ranks(direction) for row in rows}
    most = max(len(seed) for seeds in ranks.values() for seed in seeds)
    ks = [k for k in _KS if k <= most] or [1]
    edges = [*_BINS, np.inf]
    labels = [
        f"{a}" if b == a + 1 else f"{a}-{b - 1:.0f}" if b < np.inf else f"over {a - 1}"
        for a, b in pairwise(edges)
    ]
    recall, bars = [], []
    for name, seeds in ranks.items():
        recalls = [[100 * float(np.mean(seed <= k)) for k in ks] for seed in seeds]
        recall.append(_with_spread(name, recalls, colors[name], ks))
        counts = np.mean([np.histogram(seed, bins=edges)[0] for seed in seeds], axis=0)
        bars.append(Series(name, (100 * counts / len(seeds[0])).tolist(), colors[name]))
    title = f"Recall at K, {_TITLES[direction]}"
    spread = f"Distribution of ranks, {_TITLES[direction]}"
    share = "percent of queries"
    return [
        Plot(f"recall-{direction}", title, ks, recall, "K", "recall in percent", log=True),
        Plot(f"ranks-{direction}", spread, labels, bars, "rank", share, bars=True),
    ]


def _training(rows: Sequence[Row], colors: dict[str, int]) -> list[Plot]:
    """Return the training curves by optimizer step, means over seeds that were evaluated at the same steps."""
    mrr, loss = [], []
    frozen: dict[int | None, float] = {}
    for row in rows:
        for result in row.results:
            if result.fit and result.fit.zero_shot_mrr is not None:
                frozen[result.settings.seed] = 100 * result.fit.zero_shot_mrr
        fits = [result.fit for result in row.results if result.fit and result.fit.epochs]
        if fits:
            fits = [fit for fit in fits if _steps(fit) == _steps(fits[0])]
            steps, color = _steps(fits[0]), colors[_name(row)]
            courses = [[100 * epoch.validation_mrr for epoch in fit.epochs] for fit in fits]
            untrained = [100 * f.untrained_mrr for f in fits if f.untrained_mrr is not None]
            if len(untrained) == len(fits):
                courses = [[at, *course] for at, course in zip(untrained, courses, strict=True)]
            at = [0] * (len(courses[0]) - len(steps)) + steps
            losses = [[epoch.loss for epoch in fit.epochs] for fit in fits]
            mrr.append(_with_spread(_name(row), courses, color, at))
            loss.append(_with_spread(_name(row), losses, color, steps))
    if not mrr:
        return []
    x = sorted({step for each in mrr for step in each.x})
    if frozen:
        mrr.insert(0, _horizontal("zero-shot", fmean(frozen.values()), x))
    title = "Validation MRR while training"
    return [
        Plot("training-mrr", title, x, mrr, "optimizer steps", f"validation {_MRR}"),
        Plot("training-loss", "Training loss", x, loss, "optimizer steps", "loss"),
    ]


def _steps(fit: FitLog) -> list[float]:
    return [epoch.step for epoch in fit.epochs]


def _with_spread(
    name: str, courses: Sequence[Sequence[float]], color: int, x: Sequence[float]
) -> Series:
    """Return the mean of courses of several seeds, with the standard deviation."""
    columns = [*zip(*courses, strict=True)]
    spread = [stdev(column) for column in columns] if len(courses) > 1 else []
    return Series(name, [fmean(column) for column in columns], color, x, spread)


def _horizontal(name: str, value: float, x: Sequence[float]) -> Series:
    return Series(name, [value, value], 0, [x[0], x[-1]], marks=False)


def _by_shots(rows: Sequence[Row], colors: dict[str, int]) -> list[Plot]:
    """Return the MRR by training images per category, if there are several numbers of them."""
    found: dict[str, dict[int | None, list[float]]] = defaultdict(dict)
    for row in rows:
        found[_name(row)][row.results[0].settings.shots] = [100 * each.mrr for each in row.results]
    numbers = {shots for values in found.values() for shots in values if shots is not None}
    untrained = {_name(row) for row in rows if not _is_trained(row)}
    everything = any(None in values for name, values in found.items() if name not in untrained)
    x = sorted(numbers) + ([2 * max(numbers)] if numbers and everything else [])
    if len(x) < 2:
        return []
    series = []
    for name, values in found.items():
        if name in untrained and set(values) == {None}:
            level = _horizontal(name, fmean(values[None]), x)
            series.append(replace(level, color=colors[name]))
            continue
        at = {x[-1] if shots is None else shots: mrr for shots, mrr in values.items()}
        points = sorted(at)
        means = [fmean(at[point]) for point in points]
        several = min(map(len, at.values())) > 1
        spread = [stdev(at[point]) for point in points] if several else []
        series.append(Series(name, means, colors[name], points, spread))
    names = {float(x[-1]): "all"} if everything else {}
    title = "MRR by shots, mean of both directions"
    axis = "training images per category"
    return [Plot("shots", title, x, series, axis, _MRR, log=True, names=names)]
