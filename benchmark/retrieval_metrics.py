"""All metrics of a run, and the columns under which every table shows them."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.rank_metrics import (
    BOTH,
    COMBINED,
    DIRECTIONS,
    METRICS,
    Better,
    Count,
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


@dataclass(frozen=True)
class RetrievalMetrics:
    """All metrics of one method on one split; fractions, and ranks from 1."""

    by_direction: dict[str, MetricValues]
    """by direction, and for `both`"""
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
    """one of `DIRECTIONS`, or `both`"""
    name: str
    unit: Unit
    better: Better
    main: bool
    meaning: str

    @property
    def title(self) -> str:
        """The heading, e.g. `I2T R@1` or `R-sum`."""
        return self.name if self.direction == BOTH else f"{SHORT[self.direction]} {self.name}"

    def value(self, metrics: RetrievalMetrics) -> float | None:
        """Return the number; None if it was not measured."""
        if self == HARD_NEGATIVES:
            share = metrics.hard_negatives.get("all")
            return share.accuracy if share else None
        return metrics.by_direction[self.direction].values.get(self.name)

    def interval(self, metrics: RetrievalMetrics) -> Interval | None:
        """Return the 95 % interval; None if there is none."""
        known = self.name in (COMBINED if self.direction == BOTH else METRICS)
        return metrics.by_direction[self.direction].intervals.get(self.name) if known else None

    def text(self, value: float | None) -> str:
        """Return a number as tables print it."""
        if value is None:
            return "–"
        return f"{100 * value:.2f}" if self.unit == "%" else f"{value:.1f}"


HARD_NEGATIVES = Column(
    BOTH, "hard neg.", "%", "higher", main=True, meaning="accuracy on hard negatives"
)


def columns() -> list[Column]:
    """Return a column for every metric: of each direction, then of both."""
    return [
        *(
            Column(direction, each.name, each.unit, each.better, each.main, each.meaning)
            for direction in DIRECTIONS
            for each in METRICS.values()
        ),
        *(
            Column(BOTH, each.name, "%", "higher", each.main, each.meaning)
            for each in COMBINED.values()
        ),
        HARD_NEGATIVES,
    ]


def main_columns() -> list[Column]:
    """Return the columns of the main tables."""
    return [each for each in columns() if each.main]
