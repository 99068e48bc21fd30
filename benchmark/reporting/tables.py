"""What is told of a comparison, grid by grid, as plain text: pages differ only in how they write it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from benchmark.evaluation.metrics import DIRECTIONS, Share
from benchmark.reporting.comparison import (
    Comparison,
    Row,
    hard_negatives,
    harmonic,
    percent_columns,
    side,
)
from benchmark.reporting.wording import NEGATIVES, SHORT, ceiling, heading, number, percent


@dataclass(frozen=True)
class Grid:
    """A table: a sentence over it, its head, its rows, and rows that are no method's."""

    said: str
    head: list[str]
    rows: list[list[str]]
    foot: list[list[str]]


def main_grid(comparison: Comparison) -> Grid:
    """Recalls and MRR of both directions, R-sum, hard negatives; a row for each method."""
    columns = percent_columns()
    return Grid(
        "",
        ["method", *(column.title for column in columns)],
        [[row.label, *map(number, row.cells)] for row in comparison.rows],
        [["ceiling", *(ceiling(comparison, column) for column in columns)]],
    )


def interval_grid(comparison: Comparison) -> Grid:
    """Confidence intervals, seed by seed."""
    rows = []
    for row in comparison.rows:
        for result in row.results:
            cells = [
                "[{:.2f}, {:.2f}]".format(*(100 * end for end in side(result, each).interval[name]))
                for each in DIRECTIONS
                for name in ("R@1", "mrr")
            ]
            seed = "" if result.settings.seed is None else str(result.settings.seed)
            rows.append([row.label, seed, *cells])
    head = [f"{SHORT[each]} {name}" for each in DIRECTIONS for name in ("R@1", "MRR")]
    said = "95 % bootstrap intervals, over images, seed by seed:"
    return Grid(said, ["method", "seed", *head], rows, [])


def rank_grid(comparison: Comparison) -> Grid:
    """Ranks, and what is found of the right category."""
    head = ["method"]
    for each in DIRECTIONS:
        names = ("R@1, equal captions relevant", "median rank", "mean rank", "category R@1", "mAP")
        head += [f"{SHORT[each]} {name}" for name in names]
    rows = []
    for row in comparison.rows:
        cells = [row.label]
        for each in DIRECTIONS:
            sides = [side(result, each) for result in row.results]
            cells += [
                percent([one.caption.recall["R@1"] for one in sides]),
                f"{fmean(one.strict.median_rank for one in sides):.1f}",
                f"{fmean(one.strict.mean_rank for one in sides):.1f}",
                percent([one.category_recall_1 for one in sides]),
                percent([one.category_map for one in sides]),
            ]
        rows.append(cells)
    return Grid("Ranks and categories, means over seeds:", head, rows, [])


def negatives_grid(comparison: Comparison) -> Grid | None:
    """Accuracy among hard negatives, by kind and attribute type; None where there are none."""
    shares = _shares(comparison)
    if not shares:
        return None
    return Grid(
        NEGATIVES,
        ["method", *shares],
        [
            [row.label, *(percent(_accuracies(row, kind)) for kind in shares)]
            for row in comparison.rows
        ],
        [
            [
                "blind",
                *(percent([s.blind] if s.blind is not None else []) for s in shares.values()),
            ],
            ["guessing", *(f"{100 * share.chance:.2f}" for share in shares.values())],
            ["rows", *(str(share.rows) for share in shares.values())],
        ],
    )


def domain_grid(comparison: Comparison) -> Grid | None:
    """R@1 of each domain; None where there is but one."""
    domains = sorted(comparison.rows[0].results[0].metrics.by_domain)
    if len(domains) < 2:
        return None
    rows = [
        [
            row.label,
            *(
                " / ".join(
                    percent([r.metrics.by_domain[name][each].recall["R@1"] for r in row.results])
                    for each in DIRECTIONS
                )
                for name in domains
            ),
        ]
        for row in comparison.rows
    ]
    return Grid("R@1 by domain, I2T / T2I:", ["method", *domains], rows, [])


def category_grid(comparison: Comparison) -> Grid:
    """MRR of each category, the mean of both directions; a row for each category."""
    names = sorted(comparison.rows[0].results[0].metrics.by_category)
    rows = []
    for name in names:
        of_category = [
            [r.metrics.by_category[name] for r in row.results] for row in comparison.rows
        ]
        means = [[fmean(s[d].mrr for d in DIRECTIONS) for s in each] for each in of_category]
        images = of_category[0][0]["image_to_text"].queries
        rows.append([name, str(images), *map(percent, means)])
    head = ["category", "images", *(row.label for row in comparison.rows)]
    return Grid("MRR by category, mean of both directions:", head, rows, [])


def settings_grid(comparison: Comparison) -> Grid:
    """Options, seeds, sizes and times."""
    rows = []
    for row in comparison.rows:
        first = row.results[0]
        said = first.settings
        asked = [f"{k}={v}" for part in (said.options, said.train or {}) for k, v in part.items()]
        best = [str(r.fit.best_epoch) for r in row.results if r.fit is not None]
        seeds = [str(r.settings.seed) for r in row.results if r.settings.seed is not None]
        seconds = fmean(sum(r.seconds.values()) for r in row.results)
        lists = [", ".join(each) or "–" for each in (asked, seeds, best)]
        size = f"{first.learned_parameters:,}"
        rows.append([row.label, lists[0], lists[1], size, lists[2], f"{seconds:.1f}"])
    head = ["method", "settings", "seeds", "learned parameters", "best epoch", "seconds"]
    return Grid("Settings, all resolved:", head, rows, [])


def halves_grid(base: Comparison, new: Comparison) -> Grid:
    """Base to new, for the methods that were measured on both halves; a row for each direction."""
    names = [c.title for c in percent_columns()]
    unseen = {row.label: dict(zip(names, row.cells, strict=True)) for row in new.rows}
    rows = []
    for row in base.rows:
        seen = dict(zip(names, row.cells, strict=True))
        for each in DIRECTIONS if row.label in unseen else ():
            printed = [row.label, SHORT[each]]
            for name in ("R@1", "MRR"):
                one, other = (of[f"{SHORT[each]} {name}"] for of in (seen, unseen[row.label]))
                if one is not None and other is not None:
                    means = (one.mean, other.mean, harmonic(one.mean, other.mean))
                    printed += [f"{100 * mean:.2f}" for mean in means]
            rows.append(printed)
    head = [f"{name} {part}" for name in ("R@1", "MRR") for part in ("base", "new", "H")]
    return Grid(f"{heading(base.settings)} to new", ["method", "", *head], rows, [])


def _shares(comparison: Comparison) -> dict[str, Share]:
    """What all methods of a comparison have in common: rows, chance and blind accuracy, by kind.

    Where training rows changed between runs, their blind readers may disagree; none is shown then.
    """
    every = [result.metrics.hard_negatives for row in comparison.rows for result in row.results]
    return {
        kind: share
        if len({each[kind].blind for each in every}) == 1
        else replace(share, blind=None)
        for kind, share in sorted(every[0].items())
    }


def _accuracies(row: Row, kind: str) -> Sequence[float]:
    value = hard_negatives(kind)
    return [found for result in row.results if (found := value(result)) is not None]
