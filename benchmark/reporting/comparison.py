"""Group results that are comparable, and average them over seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import TYPE_CHECKING

import numpy as np

from benchmark.evaluation.paired_tests import Clusters, Difference, Reciprocals, paired_differences
from benchmark.result import DIRECTIONS, KS, BenchResult
from benchmark.settings import Settings

if TYPE_CHECKING:
    from fdrd.dataset import Indices

REFERENCE = "zero_shot"
"""The method that others are compared with in result tables."""

LEVEL = 0.05
"""Significance level of corrected p values."""

SHORT = {"image_to_text": "I2T", "text_to_image": "T2I"}

Label = Callable[[Settings], str]
"""Name of a table row."""


@dataclass(frozen=True)
class Column:
    """One column of a result table."""

    title: str
    direction: str
    """`image_to_text`, `text_to_image`, or empty for a number of both"""
    value: Callable[[BenchResult], float | None]
    tested: bool = False
    """whether the significance test covers it: the MRR of a direction"""


@dataclass(frozen=True)
class Cell:
    """A number over the seeds of a row."""

    mean: float
    deviation: float | None
    """sample standard deviation over seeds; None for a single seed"""
    below: bool
    """below zero-shot, in a column of one direction"""
    not_significant: bool = False
    """not significantly different from zero-shot, in a tested column"""


@dataclass(frozen=True)
class Row:
    """A method with its options; one result per seed."""

    label: str
    results: list[BenchResult]
    cells: list[Cell | None]

    @property
    def method(self) -> str:
        """The name of the method."""
        return self.results[0].settings.method


@dataclass(frozen=True)
class Comparison:
    """Rows measured on the same queries with the same backbone."""

    settings: Settings
    """of one of the results; all share data, split, gallery and backbone"""
    rows: list[Row]


def group_results(
    results: Sequence[BenchResult], columns: Sequence[Column] = (), named: Label | None = None
) -> list[Comparison]:
    """Group results by what was measured, then by method and options.

    Rows are sorted by name, the reference first.

    Args:
        results: of any runs.
        columns: numbers to compute for each row.
        named: returns the name of a row, `label` by default.
    """
    groups: dict[tuple[str, ...], list[BenchResult]] = defaultdict(list)
    for result in results:
        groups[tuple(measured(result.settings).values())].append(result)
    return [_comparison(group, columns, named or label) for group in groups.values()]


def measured(settings: Settings) -> dict[str, str]:
    """Return what comparable runs have in common, as words and digests."""
    base = settings.categories.fingerprint if settings.categories else "all"
    return {
        "data": settings.data.fingerprint,
        "backbone": settings.backbone.fingerprint,
        "split": settings.split,
        "gallery": str(settings.gallery),
        "base categories": base,
        "half": settings.half or "both",
    }


def differences(
    reference: Sequence[BenchResult], others: Sequence[Sequence[BenchResult]]
) -> list[dict[str, Difference]]:
    """Return the paired difference of each method to the reference, each given by its seeds' results.

    All must have been measured on the same queries.
    """
    first = reference[0]
    image_of_row = numbers(first.queries.image_of_row)
    domain = numbers(first.queries.domain_of_image)
    group = np.zeros_like(domain) if first.settings.gallery == "joint" else domain
    ranks = _reciprocals(reference)
    return paired_differences(ranks, list(map(_reciprocals, others)), Clusters(image_of_row, group))


def base_to_new(comparisons: Sequence[Comparison]) -> list[tuple[Comparison, Comparison]]:
    """Return the pairs of comparisons on base and new categories of the same list."""

    def shared(comparison: Comparison) -> dict[str, str | None]:
        settings = comparison.settings
        fields = {**measured(settings), "name": settings.data.name, "domain": settings.domain}
        return {key: value for key, value in fields.items() if key not in ("data", "half")}

    return [
        (base, new)
        for base in comparisons
        for new in comparisons
        if (base.settings.half, new.settings.half) == ("base", "new")
        and shared(base) == shared(new)
    ]


def main_columns() -> list[Column]:
    """Return the columns of the main table: recalls and MRR by direction, R-sum, hard negatives."""
    columns = []
    for direction, short in SHORT.items():
        for k in KS:
            columns.append(Column(f"{short} R@{k}", direction, _recall(direction, f"R@{k}")))
        columns.append(Column(f"{short} MRR", direction, _mrr(direction), tested=True))
    columns.append(Column("R-sum", "", lambda result: result.metrics.rsum))
    columns.append(Column("hard neg.", "", _hard_negatives))
    return columns


def label(settings: Settings) -> str:
    """Return the method with the options that were given, as the name of a row."""
    given = {**settings.options_given, **settings.train_given}
    for name, value in (("shots", settings.shots), ("train-domain", settings.train_domain)):
        if value is not None:
            given[name] = value
    if settings.checkpoint is not None:
        given = {"checkpoint": settings.checkpoint[:8]}
    words = ", ".join(f"{name}={value}" for name, value in sorted(given.items()))
    return _tagged(f"{settings.method} ({words})" if words else settings.method, settings)


def short_label(settings: Settings) -> str:
    """Return the method without options, for tables that list these elsewhere."""
    return _tagged(settings.method, settings)


def numbers(text: str) -> Indices:
    """Return numbers separated by spaces as an array."""
    return np.array(text.split(), dtype=np.int64)


def _tagged(name: str, settings: Settings) -> str:
    return name + "".join(f" [{tag}]" for tag in settings.remarks)


def _recall(direction: str, name: str) -> Callable[[BenchResult], float | None]:
    return lambda result: result.metrics.direction(direction).strict.recall[name]


def _mrr(direction: str) -> Callable[[BenchResult], float | None]:
    return lambda result: result.metrics.direction(direction).strict.mrr


def _hard_negatives(result: BenchResult) -> float | None:
    share = result.metrics.hard_negatives.get("all")
    return share.accuracy if share else None


def _comparison(
    results: Sequence[BenchResult], columns: Sequence[Column], named: Label
) -> Comparison:
    rows = _rows(results, named)
    reference = rows.get(REFERENCE, [])
    baseline = [_values(reference, column) for column in columns]
    significant = _significant(rows) if any(column.tested for column in columns) else {}
    return Comparison(
        results[0].settings,
        [
            Row(
                name,
                rows[name],
                [
                    _cell(_values(rows[name], column), column, values, significant.get(name, {}))
                    for column, values in zip(columns, baseline, strict=True)
                ],
            )
            for name in sorted(rows, key=lambda name: (name != REFERENCE, name))
        ],
    )


def _rows(results: Sequence[BenchResult], named: Label) -> dict[str, list[BenchResult]]:
    """Return results by label. Results that differ in more than the seed get different labels.

    For example, an edited method has the same options, so a digest is appended to the label.
    """
    kinds: dict[str, dict[str, dict[object, BenchResult]]] = defaultdict(lambda: defaultdict(dict))
    for result in results:
        settings = result.settings
        source = tuple(sorted(settings.learned_from.items()))
        # A few-shot draw has other rows for every seed. What is measured is the same for all.
        shared = {} if settings.shots is not None else settings.learned_from
        # Another text-only baseline does not make another method; the table shows none if they differ.
        kind = replace(
            settings, seed=None, domain=None, learned_from=shared, blind_from=None
        ).identity()
        kinds[named(settings)][kind][settings.seed, source] = result
    return {
        name if len(same) == 1 else f"{name} #{kind[:8]}": list(found.values())
        for name, same in kinds.items()
        for kind, found in same.items()
    }


def _significant(rows: dict[str, list[BenchResult]]) -> dict[str, dict[str, bool]]:
    """Return by label and direction whether a row differs significantly from the reference."""
    others = [name for name in rows if name != REFERENCE]
    if REFERENCE not in rows or not others:
        return {}
    found = differences(rows[REFERENCE], [rows[name] for name in others])
    return {
        name: {direction: parts[direction].holm < LEVEL for direction in DIRECTIONS}
        for name, parts in zip(others, found, strict=True)
    }


def _reciprocals(results: Sequence[BenchResult]) -> Reciprocals:
    """Return 1 / rank of each query, averaged over seeds."""
    sides = []
    for direction in DIRECTIONS:
        ranks = [numbers(result.ranks[direction].strict) for result in results]
        sides.append(np.mean([1 / each for each in ranks], axis=0))
    return Reciprocals(*sides)


def _values(results: Sequence[BenchResult], column: Column) -> list[float]:
    return [value for result in results if (value := column.value(result)) is not None]


def _cell(
    values: Sequence[float],
    column: Column,
    baseline: Sequence[float],
    significant: dict[str, bool],
) -> Cell | None:
    if not values:
        return None
    mean = fmean(values)
    below = bool(column.direction) and bool(baseline) and mean < fmean(baseline)
    not_significant = column.tested and not significant.get(column.direction, True)
    return Cell(mean, stdev(values) if len(values) > 1 else None, below, not_significant)
