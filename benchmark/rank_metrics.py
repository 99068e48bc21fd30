"""All metrics of a run, and the columns under which every table shows them.

A metric of ranks is a function from the ranks of the queries of one direction to a value per query. It is added here
and nowhere else: `@metric` registers it, and results, tables, CSV, pandas and cards have it. The metrics of a run are
computed here, and reading a result file computes them again, to compare them with those that the file states. This
module imports no model code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from itertools import product
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from benchmark.intervals import score_interval
from fdrd.record import KINDS

KS = (1, 5, 10)
RECALLS = tuple(f"R@{k}" for k in KS)
DIRECTIONS = ("image_to_text", "text_to_image")
BOTH = "both"
"""The name under which metrics of both directions are kept, next to `DIRECTIONS`."""
SHORT = {"image_to_text": "I2T", "text_to_image": "T2I"}

LARGEST_COUNT = 2**53
"""Largest integer that every reader of JSON keeps; far more than there is of anything."""

Number = Annotated[float, Meta(ge=-LARGEST_COUNT, le=LARGEST_COUNT)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
NonNegative = Annotated[float, Meta(ge=0, le=LARGEST_COUNT)]
Count = Annotated[int, Meta(ge=1, le=LARGEST_COUNT)]
CountFromZero = Annotated[int, Meta(ge=0, le=LARGEST_COUNT)]
Interval = tuple[NonNegative, NonNegative]

Indices: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Side = TypeVar("Side")
Values: TypeAlias = npt.NDArray[Any]
"""One value per query, which may be NaN where a query has none; truth values are 1 and 0."""
Mask: TypeAlias = npt.NDArray[np.bool_]
RankArrays: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""The fields of `benchmark.evaluation.ranking.Ranks` that are known, by name; a result file has two of them."""

Unit = Literal["%", ""]
Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Metric:
    """A metric of one direction.

    Attributes:
        name: unique name, which is its heading, too.
        unit: `%` for fractions in [0, 1], which tables print in percent; empty for other numbers.
        better: the direction of a better value.
        main: whether the main tables show it.
        reduce: how the values of the queries become one number.
        inputs: the fields of `Ranks` that `values` takes.
        values: returns one value per query.
        meaning: what the value of a query is, in words.
    """

    name: str
    unit: Unit
    better: Better
    main: bool
    reduce: Literal["mean", "median"]
    inputs: tuple[str, ...]
    values: Callable[..., Values]
    meaning: str

    @property
    def has_interval(self) -> bool:
        """Whether `benchmark.intervals` gives its interval."""
        return self.unit == "%" and self.reduce == "mean"


class CombinedMetric(NamedTuple):
    """A sum or mean of some metrics over both directions, each in percent, where a higher value is better."""

    parts: tuple[str, ...]
    total: bool
    """the sum; otherwise the mean"""
    meaning: str


METRICS: dict[str, Metric] = {}
"""The metrics of one direction by name, in the order of the tables."""

COMBINED = {
    "R-sum": CombinedMetric(RECALLS, total=True, meaning="sum of the six recalls"),
    "MRR": CombinedMetric(("MRR",), total=False, meaning="mean of both MRR"),
}
"""The metrics of both directions by name."""


def metric(
    name: str,
    *,
    unit: Unit,
    better: Better,
    cutoffs: Sequence[int] = (),
    main: bool = False,
    reduce: Literal["mean", "median"] = "mean",
) -> Callable[[Callable[..., Values]], Callable[..., Values]]:
    """Register a function as a metric.

    Its parameters are named after the fields of `Ranks` that it needs. A metric of `strict` and `caption` ranks
    is checked when a result is read, and one of `strict` ranks is broken down by domain and category.

    Each of the `cutoffs` is a value of the parameter `k` and makes a metric, whose name has it in place of `{k}`. Other
    arguments are attributes of `Metric`.

    Raises:
        ValueError: the name is taken.
    """

    def register(function: Callable[..., Values]) -> Callable[..., Values]:
        inputs = tuple(each for each in signature(function).parameters if each != "k")
        meaning = (function.__doc__ or "").partition("\n")[0].removeprefix("Return ").rstrip(".")
        for k in cutoffs or (None,):
            title = name if k is None else name.format(k=k)
            if title in METRICS:
                raise ValueError(f"there is a metric {title} already")
            values = function if k is None else partial(function, k=k)
            METRICS[title] = Metric(title, unit, better, main, reduce, inputs, values, meaning)
        return function

    return register


@metric("R@{k}", unit="%", better="higher", cutoffs=KS, main=True)
def recall(strict: Indices, k: int) -> Values:
    """Return whether an item of the same image is among the first K."""
    return strict <= k


@metric("MRR", unit="%", better="higher", main=True)
def reciprocal_rank(strict: Indices) -> Values:
    """Return 1 / rank of the first item of the same image."""
    return 1 / strict


@metric("median rank", unit="", better="lower", reduce="median")
def median_rank(strict: Indices) -> Values:
    """Return the rank of the first item of the same image."""
    return strict


@metric("mean rank", unit="", better="lower")
def mean_rank(strict: Indices) -> Values:
    """Return the rank of the first item of the same image."""
    return strict


@metric("expected R@{k}", unit="%", better="higher", cutoffs=KS)
def expected_recall(expected: Values, k: int) -> Values:
    """Return the chance of R@K if ties are broken at random, as other tools do."""
    return expected[:, KS.index(k)]


@metric("ceiling R@{k}", unit="%", better="higher", cutoffs=KS)
def ceiling_recall(ceiling: Indices, k: int) -> Values:
    """Return R@K of a perfect method; below 100 if images share captions."""
    return ceiling <= k


@metric("caption R@{k}", unit="%", better="higher", cutoffs=KS)
def caption_recall(caption: Indices, k: int) -> Values:
    """Return R@K if items with an equal caption are relevant, too."""
    return caption <= k


@metric("caption MRR", unit="%", better="higher")
def caption_reciprocal_rank(caption: Indices) -> Values:
    """Return MRR if items with an equal caption are relevant, too."""
    return 1 / caption


@metric("category R@1", unit="%", better="higher")
def category_recall(category: Values) -> Values:
    """Return whether the first item has the right category."""
    return category


class PairMetric(NamedTuple):
    """A metric of natural pairs: its mean for random scores, and what it says of a pair."""

    chance: float
    meaning: str


PAIR_METRICS = {
    "text": PairMetric(1 / 4, "both images score higher with their own caption"),
    "image": PairMetric(1 / 4, "both captions score higher with their own image"),
    "group": PairMetric(1 / 6, "both of these"),
}
"""The metrics of natural pairs by name."""

PAIRS = {kind: f"{kind} pairs" for kind in KINDS}
"""The names under which metrics of natural pairs are kept, by kind, next to `DIRECTIONS` and `BOTH`."""


def pair_metrics(text: Mask, image: Mask) -> MetricValues:
    """Return the metrics of P natural pairs, with intervals over pairs.

    Args:
        text: (P,) whether both images score higher with their own caption.
        image: (P,) whether both captions score higher with their own image.

    >>> found = pair_metrics(np.array([True, True]), np.array([True, False]))
    >>> found["text"], found["group"]
    (1.0, 0.5)
    """
    values, intervals = {}, {}
    for name, mask in {"text": text, "image": image, "group": text & image}.items():
        won = mask[:, None].astype(np.float64)
        values[name] = float(won.mean())
        intervals[name] = score_interval([(won, np.ones_like(won))])
    return MetricValues(len(text), values, intervals)


@dataclass(frozen=True)
class MetricValues:
    """The metrics of some queries.

    Attributes:
        queries: number of queries.
        values: numbers by metric; those that are not registered are kept and not shown.
        intervals: 95 % intervals by metric, for other images like these.
    """

    queries: Count
    values: dict[str, Number]
    intervals: dict[str, Interval] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.values.items():
            if name in METRICS and METRICS[name].unit == "%" and not 0 <= value <= 1:
                raise ValueError(f"{name} is {value:g}, which is no fraction")

    def __getitem__(self, name: str) -> float:
        return self.values[name]


def require(found: Iterable[str], names: Sequence[str]) -> None:
    """Raise `ValueError` if a name is missing."""
    if missing := [name for name in names if name not in set(found)]:
        raise ValueError(f"missing {', '.join(missing)}")


class ByDirection(NamedTuple, Generic[Side]):
    """What both directions have, e.g. a number of every query: of I images, and of N rows."""

    image_to_text: Side
    text_to_image: Side


@dataclass(frozen=True, eq=False)
class QueryGroups:
    """Which queries belong together.

    Attributes:
        image_of_row: (N,) image index of each row.
        domain_of_image: (I,) domain index of each image.
        joint: one gallery for all domains, so the metrics are not means over domains.
    """

    image_of_row: Indices
    domain_of_image: Indices
    joint: bool

    @property
    def group_of_image(self) -> Indices:
        """(I,) index of the mean that an image is averaged in: its domain, or one for all."""
        return np.zeros_like(self.domain_of_image) if self.joint else self.domain_of_image

    def images(self) -> ByDirection[Indices]:
        """Return the image index of each query."""
        return ByDirection(np.arange(len(self.domain_of_image)), self.image_of_row)

    def parts(self, part_of_image: Indices) -> list[tuple[Mask, ...]]:
        """Return which queries of both directions belong to each part of the images, in the order of their indices."""
        part_of_query = [part_of_image[image] for image in self.images()]
        return [tuple(each == n for each in part_of_query) for n in np.unique(part_of_image)]


def rank_metrics(
    ranks: Mapping[str, RankArrays], groups: QueryGroups
) -> tuple[dict[str, MetricValues], list[dict[str, MetricValues]]]:
    """Return all metrics that these ranks determine, by direction and for both; and those of each domain."""
    parts, images = groups.parts(groups.group_of_image), groups.images()
    values: dict[tuple[str, str], Values] = {}  # by direction and metric
    for direction, each in product(DIRECTIONS, METRICS.values()):
        if set(each.inputs) <= ranks[direction].keys():
            found = _values(each, ranks[direction])
            if not np.isnan(found).any():
                values[direction, each.name] = found
    of_part = [groups.group_of_image == n for n in np.unique(groups.group_of_image)]

    def interval(columns: Sequence[tuple[str, str]]) -> Interval:
        """Return the interval of the mean of these metrics, by direction and name, over the domains."""
        image = [images[DIRECTIONS.index(direction)] for direction, _ in columns]
        pairs = zip(image, columns, strict=True)
        sums = np.stack([np.bincount(each, values[key]) for each, key in pairs], axis=1)
        counts = np.stack([np.bincount(each) for each in image], axis=1).astype(float)
        return score_interval([(sums[mask], counts[mask]) for mask in of_part])

    by_direction = {}
    for side, direction in enumerate(DIRECTIONS):
        known = {name: values[key] for name in METRICS if (key := (direction, name)) in values}
        means = {
            name: float(np.mean([_reduced(METRICS[name], each[part[side]]) for part in parts]))
            for name, each in known.items()
        }
        intervals = {n: interval([(direction, n)]) for n in known if METRICS[n].has_interval}
        by_direction[direction] = MetricValues(len(images[side]), means, intervals)
    by_direction[BOTH] = _combined(by_direction, interval)
    return by_direction, by_part(ranks, groups.parts(groups.domain_of_image))


def by_part(
    ranks: Mapping[str, RankArrays], parts: Iterable[Sequence[Mask]]
) -> list[dict[str, MetricValues]]:
    """Return the metrics of strict ranks of parts of the queries, by direction.

    >>> ranks = {each: {"strict": np.array([1, 2, 4, 20])} for each in DIRECTIONS}
    >>> found, = by_part(ranks, [(np.ones(4, bool), np.ones(4, bool))])
    >>> found["image_to_text"]["MRR"], found["image_to_text"]["R@1"]
    (0.45, 0.25)
    """
    metrics = [each for each in METRICS.values() if each.inputs == ("strict",)]
    found = []
    for part in parts:
        sides = {}
        for direction, mask in zip(DIRECTIONS, part, strict=True):
            strict = ranks[direction]["strict"][mask]
            if not len(strict):
                raise ValueError("no queries, so no metrics")
            reduced = {each.name: _reduced(each, each.values(strict)) for each in metrics}
            sides[direction] = MetricValues(len(strict), reduced)
        found.append(sides)
    return found


def _values(each: Metric, ranks: RankArrays) -> Values:
    return each.values(*(ranks[name] for name in each.inputs))


def _reduced(each: Metric, values: Values) -> float:
    return float(np.median(values) if each.reduce == "median" else np.mean(values))


def _combined(
    sides: Mapping[str, MetricValues], interval: Callable[[Sequence[tuple[str, str]]], Interval]
) -> MetricValues:
    values, intervals = {}, {}
    for name, each in COMBINED.items():
        total = sum(sum(sides[direction][part] for part in each.parts) for direction in DIRECTIONS)
        columns = [*product(DIRECTIONS, each.parts)]
        low, high = interval(columns)
        factor = len(columns) if each.total else 1
        values[name] = total if each.total else total / len(columns)
        intervals[name] = factor * low, factor * high
    return MetricValues(sum(sides[each].queries for each in DIRECTIONS), values, intervals)


def first_difference(stated: MetricValues, computed: MetricValues, name: str) -> str:
    """Return where stated numbers differ from computed ones, empty if they agree up to rounding.

    Numbers that only one of them has are not compared.

    >>> one, other = (MetricValues(9, {"MRR": value}) for value in (0.99, 0.5839))
    >>> first_difference(one, other, "shapes")
    'shapes.MRR is 0.99, but the ranks give 0.5839'
    """
    pairs: list[tuple[str, float, float]] = [("queries", stated.queries, computed.queries)]
    for key, value in computed.values.items():
        pairs.append((key, stated.values.get(key, value), value))
    for key, interval in computed.intervals.items():
        for ends in zip(stated.intervals.get(key, interval), interval, strict=True):
            pairs.append((f"the interval of {key}", *ends))
    for key, one, other in pairs:
        if not np.isclose(one, other, rtol=1e-9, atol=1e-9):
            return f"{name}.{key} is {one:g}, but the ranks give {other:g}"
    return ""


def completed(
    stated: Mapping[str, MetricValues], computed: Mapping[str, MetricValues], name: str
) -> dict[str, MetricValues]:
    """Return the computed metrics of each direction, and those that are only stated.

    Raises:
        ValueError: they differ.
    """
    sides = dict(computed)
    for way, other in stated.items():
        if (found := computed.get(way)) is None:
            continue
        if difference := first_difference(other, found, f"{name}.{way}"):
            raise ValueError(difference)
        intervals = {**other.intervals, **found.intervals}
        sides[way] = MetricValues(found.queries, {**other.values, **found.values}, intervals)
    return sides


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
    meaning: str
    unit: Unit = "%"
    better: Better = "higher"
    main: bool = True

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
        found = metrics.by_direction.get(self.direction) if self != HARD_NEGATIVES else None
        return found.intervals.get(self.name) if found else None

    def text(self, value: float | None, digits: int = 2) -> str:
        """Return a number as tables print it; a dash if it was not measured."""
        if value is None:
            return "–"
        return f"{100 * value:.{digits}f}" if self.unit == "%" else f"{value:.1f}"


HARD_NEGATIVES = Column(BOTH, "hard neg.", "accuracy on hard negatives")


def columns() -> list[Column]:
    """Return a column for every metric: of each direction, of both, and of natural pairs."""
    found = [
        Column(direction, each.name, each.meaning, each.unit, each.better, each.main)
        for direction, each in product(DIRECTIONS, METRICS.values())
    ]
    found += [Column(BOTH, name, each.meaning) for name, each in COMBINED.items()]
    found.append(HARD_NEGATIVES)
    for pairs, (name, metric) in product(PAIRS.values(), PAIR_METRICS.items()):
        found.append(Column(pairs, name, metric.meaning, main=False))
    return found


def main_columns() -> list[Column]:
    """Return the columns of the main tables."""
    return [each for each in columns() if each.main]
