"""Group results that are comparable, average them over seeds, and test methods against one of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from statistics import fmean
from typing import Any

import numpy as np

from benchmark.evaluation.paired_tests import (
    Difference,
    paired_differences,
    seed_intervals,
    unit_intervals,
)
from benchmark.rank_metrics import BOTH, DIRECTIONS, ByDirection, Column, Floats, Indices, Interval
from benchmark.registry import role_of
from benchmark.result import BenchResult, numbers, query_groups
from benchmark.settings import HALVES, NO_BACKBONE, Settings
from fdrd.errors import FdrdError

LEVEL = 0.05
"""Significance level of corrected p values."""


@dataclass(frozen=True)
class Row:
    """A method with its options; one result per seed."""

    label: str
    results: list[BenchResult]

    @property
    def method(self) -> str:
        """The name of the method."""
        return self.results[0].settings.method

    def values(self, column: Column) -> list[float]:
        """Return the known numbers of a column, one per seed."""
        found = (column.value(result.metrics) for result in self.results)
        return [each for each in found if each is not None]

    def mean(self, column: Column) -> float | None:
        """Return the mean of a column over the seeds; None if it was not measured."""
        values = self.values(column)
        return fmean(values) if values else None

    def mrr(self, part: str) -> float:
        """Return the mean over seeds of the MRR of a direction, or of both."""
        direction = part if part in DIRECTIONS else BOTH
        return fmean(each.metrics.by_direction[direction]["MRR"] for each in self.results)

    def ranks(self, direction: str) -> list[Indices]:
        """Return the strict ranks of all queries, for each seed."""
        return [numbers(result.ranks[direction].strict) for result in self.results]

    def mean_ranks(self, direction: str) -> Floats:
        """Return the strict rank of every query, averaged over seeds."""
        return np.asarray(np.mean(self.ranks(direction), axis=0))

    def reciprocals(self) -> ByDirection[Floats]:
        """Return 1 / rank of each query, averaged over seeds."""
        return ByDirection(*(np.mean(seeds, axis=0) for seeds in zip(*self.by_seed(), strict=True)))

    def by_seed(self) -> list[ByDirection[Floats]]:
        """Return 1 / rank of each query, for each seed."""
        return [
            ByDirection(*(1 / ranks for ranks in pair))
            for pair in zip(*map(self.ranks, DIRECTIONS), strict=True)
        ]

    def sorted_seeds(self) -> tuple[list[int], list[ByDirection[Floats]]]:
        """Return the seeds in order, and 1 / rank of each query for each of them."""
        seeds, by_seed = [each.settings.seed or 0 for each in self.results], self.by_seed()
        order = sorted(range(len(seeds)), key=seeds.__getitem__)
        return [seeds[index] for index in order], [by_seed[index] for index in order]


@dataclass(frozen=True)
class Comparison:
    """Rows measured on the same queries with the same backbone, sorted by name, the reference first."""

    settings: Settings
    """of one of the results; all share data, split, gallery and backbone"""
    rows: list[Row]

    @property
    def reference(self) -> Row | None:
        """The row that the others are compared with; None if no method, or several rows, have this role."""
        rows = [row for row in self.rows if role_of(row.method) == "reference"]
        return rows[0] if len(rows) == 1 else None

    @cached_property
    def ranked(self) -> list[Row]:
        """The rows by MRR, the best first."""
        return sorted(self.rows, key=lambda row: -row.mrr("mean"))

    @cached_property
    def top(self) -> set[str]:
        """The labels of the best row by MRR and of those that do not differ significantly from it."""
        best, *others = self.ranked
        found = zip(others, differences(best, others), strict=True)
        return {best.label, *(row.label for row, parts in found if parts["mean"].holm >= LEVEL)}

    def worse(self, row: Row, column: Column) -> bool:
        """Return whether the mean of a row is worse than that of the reference."""
        mean, baseline = row.mean(column), self.reference.mean(column) if self.reference else None
        if mean is None or baseline is None:
            return False
        return mean < baseline if column.better == "higher" else mean > baseline

    def queries(self, direction: str) -> int:
        """Return the number of queries of a direction."""
        return self.rows[0].results[0].metrics.by_direction[direction].queries


def group_results(results: Sequence[BenchResult]) -> list[Comparison]:
    """Group results by what was measured, then by label, or method and options."""
    groups: dict[tuple[str, ...], list[BenchResult]] = defaultdict(list)
    for result in results:
        groups[tuple(measured(result.settings).values())].append(result)
    return [Comparison(g[0].settings, _rows(g)) for g in groups.values()]


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


def heading(settings: Settings) -> str:
    """Return what was measured, on one line."""
    parts = [settings.data.name, settings.split]
    parts += [settings.domain] if settings.domain else []
    parts += [settings.backbone.name] if settings.backbone != NO_BACKBONE else []
    if settings.categories:
        parts.append(f"{settings.half} categories of {settings.categories.name}")
    return ", ".join(parts)


def differences(reference: Row, others: Sequence[Row]) -> list[dict[str, Difference]]:
    """Return the paired difference of each row to the reference; all must have the same queries."""
    rows = [row.reciprocals() for row in others]
    return paired_differences(reference.reciprocals(), rows, query_groups(reference.results[0]))


def all_intervals(reference: Row, others: Sequence[Row]) -> list[dict[str, Difference]]:
    """Return `differences` with their intervals over seeds and over categories, where these exist."""
    found = []
    groups = query_groups(reference.results[0])
    over_categories = _over_categories(reference, others) or [{}] * len(others)
    tested = differences(reference, others)
    for row, parts, categories in zip(others, tested, over_categories, strict=True):
        (seeds, ours), (other_seeds, theirs) = reference.sorted_seeds(), row.sorted_seeds()
        paired, several = seeds == other_seeds, max(len(seeds), len(other_seeds)) > 1
        by_part = seed_intervals(ours, theirs, groups, paired=paired) if several else {}
        found.append(
            {
                part: replace(
                    each, over_seeds=by_part.get(part), over_categories=categories.get(part)
                )
                for part, each in parts.items()
            }
        )
    return found


def _over_categories(reference: Row, others: Sequence[Row]) -> list[dict[str, Interval]]:
    """Return intervals over categories, none unless all rows have them, for all queries and one mean over queries."""
    first = reference.results[0]
    tables = first.metrics.by_category
    counts = np.array([[side[way].queries for way in DIRECTIONS] for side in tables.values()])
    queries = [len(numbers(first.ranks[way].strict)) for way in DIRECTIONS]
    one_mean = first.settings.gallery == "joint" or len(first.metrics.by_domain) == 1
    same = all(
        each.metrics.by_category.keys() == tables.keys()
        for row in (reference, *others)
        for each in row.results
    )
    if len(tables) < 2 or not one_mean or not same or counts.sum(axis=0).tolist() != queries:
        return []

    def mrr(row: Row) -> Floats:
        by_seed = [
            [[r.metrics.by_category[name][way]["MRR"] for way in DIRECTIONS] for name in tables]
            for r in row.results
        ]
        return np.asarray(np.mean(by_seed, axis=0))

    sums = np.stack([(mrr(row) - mrr(reference)) * counts for row in others], axis=1)
    return unit_intervals(sums, counts.astype(float), np.zeros(len(tables), dtype=np.int64))


@dataclass(frozen=True)
class PairedComparison:
    """The methods of a comparison, each tested against a reference method."""

    settings: Settings
    against: Row
    others: list[Row]
    differences: list[dict[str, Difference]]
    """of each other method to `against`, for each of `PARTS`"""


def paired_with(comparison: Comparison, against: str | None) -> PairedComparison:
    """Test the methods of a comparison against one of them: a method or the label of a row, by default the reference.

    Raises:
        FdrdError: `against` does not name a single row.
    """
    reference = _reference(comparison, against)
    others = [row for row in comparison.rows if row is not reference]
    found = all_intervals(reference, others)
    return PairedComparison(comparison.settings, reference, others, found)


def _reference(comparison: Comparison, against: str | None) -> Row:
    rows = comparison.rows
    if against is None:
        return comparison.reference or rows[0]
    exact = [row for row in rows if row.label == against]
    named = [row for row in rows if against in (row.method, row.results[0].settings.label)]
    same = exact or named
    if len(same) == 1:
        return same[0]
    labels = ", ".join(repr(row.label) for row in same or rows)
    if same:
        raise FdrdError(f"{len(same)} rows are of {against}; give `against` one of {labels}")
    raise FdrdError(
        f"`against` {against}: not measured on {heading(comparison.settings)}; choose from {labels}"
    )


def verdict(difference: Difference) -> str:
    """Return the verdict on a method compared with the reference, from the corrected p.

    >>> verdict(Difference(0.02, (0.01, 0.03), 0.001, 0.004))
    'better'
    """
    if difference.holm >= LEVEL:
        return "no difference shown"
    return "better" if difference.value > 0 else "worse"


def base_to_new(comparisons: Sequence[Comparison]) -> list[tuple[Comparison, Comparison]]:
    """Return the pairs of comparisons on base and new categories of the same list."""

    def shared(comparison: Comparison) -> dict[str, str | None]:
        settings = comparison.settings
        fields = {**measured(settings), "name": settings.data.name, "domain": settings.domain}
        return {key: value for key, value in fields.items() if key not in ("data", "half")}

    bases, news = ([c for c in comparisons if c.settings.half == half] for half in HALVES)
    return [(base, new) for base, new in product(bases, news) if shared(base) == shared(new)]


def across_domains(comparisons: Sequence[Comparison]) -> list[list[Comparison]]:
    """Return the comparisons that differ in their domain only, e.g. of one model per domain."""
    groups: dict[tuple[str, ...], list[Comparison]] = defaultdict(list)
    for comparison in comparisons:
        settings = comparison.settings
        if settings.domain is not None:
            fields = {**measured(settings), "data": settings.data.name}
            groups[tuple(fields.values())].append(comparison)
    return [group for group in groups.values() if len({c.settings.domain for c in group}) > 1]


def label(settings: Settings) -> str:
    """Return the label, or the method with the options that were given, as the name of a row."""
    options = {} if settings.label else {**settings.options_given, **settings.train_given}
    for name, value in (("shots", settings.shots), ("train-domain", settings.train_domain)):
        if value is not None:
            options[name] = value
    if settings.checkpoint is not None:
        options = {"checkpoint": settings.checkpoint[:8]}
    words = ", ".join(f"{name}={value}" for name, value in sorted(options.items()))
    tags = "".join(f" [{tag}]" for tag in settings.remarks)
    return (settings.label or settings.method) + (f" ({words})" if words else "") + tags


def _rows(results: Sequence[BenchResult]) -> list[Row]:
    """Return one row per label. Results that differ in more than the seed get different labels.

    For example, an edited method has the same options, so a digest is appended to the label.
    """
    kinds: dict[str, dict[str, dict[object, BenchResult]]] = defaultdict(lambda: defaultdict(dict))
    for result in results:
        settings = result.settings
        source = tuple(sorted(settings.learned_from.items()))
        # A few-shot draw has other rows for every seed. What is measured is the same for all.
        shared = {} if settings.shots is not None else settings.learned_from
        # Another text-only baseline does not make another method; the table shows none if they differ.
        unset: dict[str, Any] = dict.fromkeys(("seed", "domain", "text_only_from"))
        kind = replace(settings, learned_from=shared, **unset).identity()
        kinds[label(settings)][kind][settings.seed, source] = result
    rows = [
        Row(name if len(same) == 1 else f"{name} #{kind[:8]}", list(found.values()))
        for name, same in kinds.items()
        for kind, found in same.items()
    ]
    return sorted(rows, key=lambda row: (role_of(row.method) != "reference", row.label))
