"""Results side by side: which may be compared, means over seeds, and who falls below zero-shot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from benchmark.metrics import KS, Direction
from benchmark.result import BenchResult, Settings

REFERENCE = "zero_shot"
"""The method that the others are marked against."""


@dataclass(frozen=True)
class Column:
    """One number of a table."""

    title: str
    direction: str
    """`image_to_text`, `text_to_image`, or empty for what is of both"""
    value: Callable[[BenchResult], float | None]


@dataclass(frozen=True)
class Cell:
    """A number over the seeds of a row."""

    mean: float
    deviation: float | None
    """sample standard deviation over seeds, none for a single one"""
    below: bool
    """whether zero-shot is better, for a column of one direction"""


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


def compare(results: Sequence[BenchResult], columns: Sequence[Column]) -> list[Comparison]:
    """Results grouped by what they were measured on, then by method and options.

    Rows are sorted by name, the reference first.
    """
    groups: dict[tuple[object, ...], list[BenchResult]] = defaultdict(list)
    for result in results:
        said = result.settings
        place = (said.data.fingerprint, said.backbone.fingerprint, said.split, str(said.gallery))
        groups[place].append(result)
    return [_comparison(group, columns) for group in groups.values()]


def percent_columns() -> list[Column]:
    """The columns of the main table: recalls and MRR of each direction, R-sum, hard negatives."""
    columns = []
    for direction, short in (("image_to_text", "I2T"), ("text_to_image", "T2I")):
        for k in KS:
            columns.append(Column(f"{short} R@{k}", direction, _recall(direction, f"R@{k}")))
        columns.append(Column(f"{short} MRR", direction, _mrr(direction)))
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
    if settings.shots is not None:
        asked["shots"] = settings.shots
    if settings.checkpoint is not None:
        asked = {"checkpoint": settings.checkpoint[:8]}
    words = ", ".join(f"{name}={value}" for name, value in sorted(asked.items()))
    return f"{settings.method} ({words})" if words else settings.method


def _recall(direction: str, name: str) -> Callable[[BenchResult], float | None]:
    return lambda result: side(result, direction).strict.recall[name]


def _mrr(direction: str) -> Callable[[BenchResult], float | None]:
    return lambda result: side(result, direction).strict.mrr


def _comparison(results: Sequence[BenchResult], columns: Sequence[Column]) -> Comparison:
    rows: dict[str, list[BenchResult]] = defaultdict(list)
    for result in results:
        rows[label(result.settings)].append(result)
    reference = rows.get(REFERENCE)
    baseline = [_mean(reference, column) if reference else None for column in columns]
    order = sorted(rows, key=lambda name: (name != REFERENCE, name))
    return Comparison(
        results[0].settings,
        [
            Row(
                name,
                rows[name],
                [
                    _cell(rows[name], column, best)
                    for column, best in zip(columns, baseline, strict=True)
                ],
            )
            for name in order
        ],
    )


def _mean(results: Sequence[BenchResult], column: Column) -> float | None:
    values = [value for result in results if (value := column.value(result)) is not None]
    return fmean(values) if values else None


def _cell(results: Sequence[BenchResult], column: Column, baseline: float | None) -> Cell | None:
    mean = _mean(results, column)
    if mean is None:
        return None
    values = [value for result in results if (value := column.value(result)) is not None]
    below = bool(column.direction) and baseline is not None and mean < baseline
    return Cell(mean, stdev(values) if len(values) > 1 else None, below)
