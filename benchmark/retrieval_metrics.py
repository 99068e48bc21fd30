"""All metrics of a run, and the columns under which every table shows them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import product

from benchmark.rank_metrics import (
    BOTH,
    COMBINED,
    DIRECTIONS,
    METRICS,
    PAIR_METRICS,
    PAIRS,
    Better,
    Count,
    CountFromZero,
    Fraction,
    Interval,
    MetricValues,
    Unit,
    require,
)

SHORT = {"image_to_text": "I2T", "text_to_image": "T2I"}


@dataclass(frozen=True)
class Share:
    """Share of rows whose caption scores above all its hard negatives of one kind; a tie is a loss."""

    accuracy: Fraction
    rows: Count
    chance: Fraction
    """accuracy of guessing"""
    text_only: Fraction | None
    """accuracy of the text-only baseline; None without training captions"""
    text_hard: Fraction | None = None
    """accuracy over the rows that the baseline loses or ties; None if there are none"""
    text_hard_rows: CountFromZero = 0
    """number of these rows"""

    @property
    def won(self) -> float:
        """Number of rows that are won, up to rounding."""
        return self.accuracy * self.rows

    def check(self, name: str) -> None:
        """Raise `ValueError`, which names the share, if its numbers contradict each other."""
        slack = 1e-6 * self.rows
        if abs(self.won - round(self.won)) > slack:
            raise ValueError(
                f"{name}.accuracy is {self.accuracy:g}, which is no share of {self.rows} rows"
            )
        if self.text_only is None:
            return
        # The text-hard rows are those that the text-only baseline does not win.
        others = self.rows - self.text_hard_rows
        won_hard = (self.text_hard or 0) * self.text_hard_rows
        if (
            abs(others - self.text_only * self.rows) > slack
            or (self.text_hard is None) != (self.text_hard_rows == 0)
            or not self.won - others - slack <= won_hard <= self.won + slack
        ):
            raise ValueError(
                f"{name}: `text_hard` or `text_hard_rows` does not agree with the text-only baseline"
            )


@dataclass(frozen=True)
class RetrievalMetrics:
    """All metrics of one method on one split; fractions, and ranks from 1."""

    by_direction: dict[str, MetricValues]
    """by direction, for `both`, and for natural pairs of each kind (`PAIRS`) that the split has"""
    by_domain: dict[str, dict[str, MetricValues]]
    """domain -> direction -> metrics of strict ranks"""
    by_category: dict[str, dict[str, MetricValues]]
    """category -> direction -> metrics of strict ranks of the queries of that category"""
    hard_negatives: dict[str, Share]
    """by `all`, kind and `attribute: type`; empty without negatives, or if they were not measured"""

    def __post_init__(self) -> None:
        for breakdown in (self.by_domain, self.by_category):
            for sides in breakdown.values():
                require(sides, DIRECTIONS)
        for sides in self.by_category.values():
            for direction in DIRECTIONS:
                require(sides[direction].values, ("MRR",))  # which comparisons read


@dataclass(frozen=True)
class Column:
    """A metric of a table: of one direction, or of both together."""

    direction: str
    """one of `DIRECTIONS`, `both`, or `PAIRS` of a kind"""
    name: str
    unit: Unit
    better: Better
    main: bool
    meaning: str

    @property
    def title(self) -> str:
        """The heading, e.g. `I2T R@1`, `R-sum` or `category pairs group`."""
        if self.direction == BOTH:
            return self.name
        return f"{SHORT.get(self.direction, self.direction)} {self.name}"

    def value(self, metrics: RetrievalMetrics) -> float | None:
        """Return the number; None if it was not measured."""
        if self == HARD_NEGATIVES:
            share = metrics.hard_negatives.get("all")
            return share.accuracy if share else None
        found = metrics.by_direction.get(self.direction)
        return found.values.get(self.name) if found else None

    def interval(self, metrics: RetrievalMetrics) -> Interval | None:
        """Return the 95 % interval; None if there is none."""
        tables: dict[str, Collection[str]] = {BOTH: COMBINED, **dict.fromkeys(DIRECTIONS, METRICS)}
        found = metrics.by_direction.get(self.direction)
        known = self.name in tables.get(self.direction, PAIR_METRICS)
        return found.intervals.get(self.name) if known and found else None

    def text(self, value: float | None, digits: int = 2) -> str:
        """Return a number as tables print it; a dash if it was not measured."""
        if value is None:
            return "–"
        return f"{100 * value:.{digits}f}" if self.unit == "%" else f"{value:.1f}"


HARD_NEGATIVES = Column(
    BOTH, "hard neg.", "%", "higher", main=True, meaning="accuracy on hard negatives"
)


def columns() -> list[Column]:
    """Return a column for every metric: of each direction, of both, and of natural pairs."""
    found = [
        Column(direction, each.name, each.unit, each.better, each.main, each.meaning)
        for direction in DIRECTIONS
        for each in METRICS.values()
    ]
    for each in COMBINED.values():
        found.append(Column(BOTH, each.name, "%", "higher", each.main, each.meaning))
    found.append(HARD_NEGATIVES)
    for pairs, (name, metric) in product(PAIRS.values(), PAIR_METRICS.items()):
        found.append(Column(pairs, name, "%", "higher", main=False, meaning=metric.meaning))
    return found


def main_columns() -> list[Column]:
    """Return the columns of the main tables."""
    return [each for each in columns() if each.main]
