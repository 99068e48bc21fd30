"""Results side by side: which may be compared, means over seeds, and what sets them apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

import numpy as np

from benchmark.evaluation.metrics import DIRECTIONS, KS, Direction
from benchmark.evaluation.paired_tests import Clusters, Difference, Reciprocals, paired_differences
from benchmark.result import BenchResult, Settings
from fdrd.dataset import Indices

REFERENCE = "zero_shot"
"""The method that the others are marked against."""

LEVEL = 0.05
"""A corrected p below it tells two methods apart."""


Name = Callable[[Settings], str]
"""What a row of a table is called."""


@dataclass(frozen=True)
class Column:
    """One number of a table."""

    title: str
    direction: str
    """`image_to_text`, `text_to_image`, or empty for what is of both"""
    value: Callable[[BenchResult], float | None]
    tested: bool = False
    """whether it is what the paired test is of: the MRR of a direction"""


@dataclass(frozen=True)
class Cell:
    """A number over the seeds of a row."""

    mean: float
    deviation: float | None
    """sample standard deviation over seeds, none for a single one"""
    below: bool
    """whether zero-shot is better, for a column of one direction"""
    unseparated: bool = False
    """whether the paired test shows no difference to zero-shot, for a column that it is of"""


@dataclass(frozen=True)
class Row:
    """A method with its options; one result per seed."""

    label: str
    results: list[BenchResult]
    cells: list[Cell | None]


@dataclass(frozen=True)
class Comparison:
    """Rows that were measured on the same queries with the same backbone."""

    settings: Settings
    """of one of them: data, split, gallery and backbone are those of all"""
    rows: list[Row]


def compare(
    results: Sequence[BenchResult], columns: Sequence[Column], named: Name | None = None
) -> list[Comparison]:
    """Results grouped by what they were measured on, then by method and options.

    Rows are sorted by name, the reference first.

    Args:
        results: of any runs.
        columns: the numbers.
        named: what a row is called, by default `label`.
    """
    groups: dict[tuple[str, ...], list[BenchResult]] = defaultdict(list)
    for result in results:
        groups[tuple(measured(result.settings).values())].append(result)
    return [_comparison(group, columns, named or label) for group in groups.values()]


def measured(settings: Settings) -> dict[str, str]:
    """What two runs must share to be compared, in words and digests."""
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
    """The paired difference of each method to the reference; each is given by its seeds' results.

    All must have been measured on the same queries.
    """
    first = reference[0]
    image_of_row, domain = map(
        _numbers, (first.queries.image_of_row, first.queries.domain_of_image)
    )
    group = np.zeros_like(domain) if first.settings.gallery == "joint" else domain
    ranks = _reciprocals(reference)
    return paired_differences(ranks, list(map(_reciprocals, others)), Clusters(image_of_row, group))


def harmonic(base: float, new: float) -> float:
    """Harmonic mean, high only where both are.

    >>> round(harmonic(0.6, 0.3), 3), harmonic(0.0, 0.5)
    (0.4, 0.0)
    """
    return 2 * base * new / (base + new) if base + new else 0.0


def base_to_new(comparisons: Sequence[Comparison]) -> list[tuple[Comparison, Comparison]]:
    """The comparisons of base categories, each with that of the new ones of the same list."""

    def place(comparison: Comparison) -> dict[str, str | None]:
        said = comparison.settings
        shared = {**measured(said), "name": said.data.name, "domain": said.domain}
        return {key: value for key, value in shared.items() if key not in ("data", "half")}

    return [
        (base, new)
        for base in comparisons
        for new in comparisons
        if base.settings.half == "base" and new.settings.half == "new" and place(base) == place(new)
    ]


def percent_columns() -> list[Column]:
    """The columns of the main table: recalls and MRR of each direction, R-sum, hard negatives."""
    columns = []
    for direction, short in (("image_to_text", "I2T"), ("text_to_image", "T2I")):
        for k in KS:
            columns.append(Column(f"{short} R@{k}", direction, _recall(direction, f"R@{k}")))
        columns.append(Column(f"{short} MRR", direction, _mrr(direction), tested=True))
    columns.append(Column("R-sum", "", lambda result: result.metrics.rsum))
    columns.append(Column("hard neg.", "", hard_negatives("all")))
    return columns


def side(result: BenchResult, direction: str) -> Direction:
    """One direction of a result."""
    metrics = result.metrics
    return metrics.image_to_text if direction == "image_to_text" else metrics.text_to_image


def hard_negatives(kind: str) -> Callable[[BenchResult], float | None]:
    """Accuracy among the negatives of a kind, nothing where there are none."""

    def value(result: BenchResult) -> float | None:
        share = result.metrics.hard_negatives.get(kind)
        return share.accuracy if share else None

    return value


def label(settings: Settings) -> str:
    """A method with what was asked of it, as one row of a table is called."""
    asked = {**settings.options_given, **settings.train_given}
    for name, value in (("shots", settings.shots), ("train-domain", settings.train_domain)):
        if value is not None:
            asked[name] = value
    if settings.checkpoint is not None:
        asked = {"checkpoint": settings.checkpoint[:8]}
    words = ", ".join(f"{name}={value}" for name, value in sorted(asked.items()))
    return _marked(f"{settings.method} ({words})" if words else settings.method, settings)


def short_label(settings: Settings) -> str:
    """The method alone, for a table whose options are told elsewhere."""
    return _marked(settings.method, settings)


def _marked(name: str, settings: Settings) -> str:
    return name + "".join(f" [{mark}]" for mark in settings.remarks)


def _recall(direction: str, name: str) -> Callable[[BenchResult], float | None]:
    return lambda result: side(result, direction).strict.recall[name]


def _mrr(direction: str) -> Callable[[BenchResult], float | None]:
    return lambda result: side(result, direction).strict.mrr


def _comparison(
    results: Sequence[BenchResult], columns: Sequence[Column], named: Name
) -> Comparison:
    rows = _rows(results, named)
    reference = rows.get(REFERENCE)
    baseline = [_mean(reference, column) if reference else None for column in columns]
    order = sorted(rows, key=lambda name: (name != REFERENCE, name))
    apart = _told_apart(rows)
    return Comparison(
        results[0].settings,
        [
            Row(
                name,
                rows[name],
                [
                    _cell(rows[name], column, best, apart.get(name, {}))
                    for column, best in zip(columns, baseline, strict=True)
                ],
            )
            for name in order
        ],
    )


def _rows(results: Sequence[BenchResult], named: Name) -> dict[str, list[BenchResult]]:
    """Results by label. What differs in more than the seed is no other seed of the same row.

    An edited method, say, is asked for by the same words: a digest then tells the rows apart.
    """
    kinds: dict[str, dict[str, dict[object, BenchResult]]] = defaultdict(lambda: defaultdict(dict))
    for result in results:
        said = result.settings
        source = tuple(sorted(said.learned_from.items()))
        # A few-shot draw has rows of its own for every seed. What is measured is the same for all.
        shared = {} if said.shots is not None else said.learned_from
        # Another blind reader is no other method; the report says where readers disagree.
        kind = replace(
            said, seed=None, domain=None, learned_from=shared, blind_from=None
        ).identity()
        kinds[named(said)][kind][said.seed, source] = result
    return {
        name if len(same) == 1 else f"{name} #{kind[:8]}": list(found.values())
        for name, same in kinds.items()
        for kind, found in same.items()
    }


def _told_apart(rows: dict[str, list[BenchResult]]) -> dict[str, dict[str, bool]]:
    """Label -> direction -> whether the test tells the row from the reference."""
    others = [name for name in rows if name != REFERENCE]
    if REFERENCE not in rows or not others:
        return {}
    found = differences(rows[REFERENCE], [rows[name] for name in others])
    return {
        name: {direction: parts[direction].holm < LEVEL for direction in DIRECTIONS}
        for name, parts in zip(others, found, strict=True)
    }


def _reciprocals(results: Sequence[BenchResult]) -> Reciprocals:
    """1 / rank of each query, averaged over seeds."""
    sides = []
    for direction in DIRECTIONS:
        ranks = [_numbers(result.ranks[direction].strict) for result in results]
        sides.append(np.mean([1 / each for each in ranks], axis=0))
    return Reciprocals(*sides)


def _numbers(text: str) -> Indices:
    return np.array(text.split(), dtype=np.int64)


def _mean(results: Sequence[BenchResult], column: Column) -> float | None:
    values = [value for result in results if (value := column.value(result)) is not None]
    return fmean(values) if values else None


def _cell(
    results: Sequence[BenchResult],
    column: Column,
    baseline: float | None,
    apart: dict[str, bool],
) -> Cell | None:
    mean = _mean(results, column)
    if mean is None:
        return None
    values = [value for result in results if (value := column.value(result)) is not None]
    below = bool(column.direction) and baseline is not None and mean < baseline
    unseparated = column.tested and not apart.get(column.direction, True)
    return Cell(mean, stdev(values) if len(values) > 1 else None, below, unseparated)
