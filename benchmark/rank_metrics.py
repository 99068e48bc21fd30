"""What the ranks of the queries of a split determine: recalls, MRR, average ranks and their intervals.

The benchmark computes the metrics of a run here, and reading a result file computes them again, to compare
them with those that the file states. This module imports no model code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from benchmark.intervals import score_interval

KS = (1, 5, 10)
RECALLS = tuple(f"R@{k}" for k in KS)
DIRECTIONS = ("image_to_text", "text_to_image")

LARGEST_COUNT = 2**53
"""Largest integer that every reader of JSON keeps; far more than there is of anything."""

Fraction = Annotated[float, Meta(ge=0, le=1)]
NonNegative = Annotated[float, Meta(ge=0, le=LARGEST_COUNT)]
AtLeastOne = Annotated[float, Meta(ge=1, le=LARGEST_COUNT)]
Count = Annotated[int, Meta(ge=1, le=LARGEST_COUNT)]
Interval = tuple[NonNegative, NonNegative]

Indices: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Summary:
    """Recalls and averages of a list of ranks."""

    queries: Count
    recall: dict[str, Fraction]
    """`R@1`, `R@5`, `R@10`"""
    mrr: Fraction
    """mean of 1 / rank"""
    median_rank: AtLeastOne
    mean_rank: AtLeastOne

    def __post_init__(self) -> None:
        require(self.recall, RECALLS)


def require(found: Iterable[str], names: Sequence[str]) -> None:
    """Raise `ValueError` if a name is missing."""
    if missing := [name for name in names if name not in set(found)]:
        raise ValueError(f"missing {', '.join(missing)}")


class ByDirection(NamedTuple):
    """Strict or caption ranks of all queries: of I images, and of N rows."""

    image_to_text: Indices
    text_to_image: Indices


@dataclass(frozen=True, eq=False)
class QueryGroups:
    """Which queries belong together.

    Attributes:
        image_of_row: (N,) image number of each row.
        domain_of_image: (I,) domain number of each image.
        joint: one gallery for all domains, so the metrics are not means over domains.
    """

    image_of_row: Indices
    domain_of_image: Indices
    joint: bool

    def images(self) -> ByDirection:
        """Return the image number of each query."""
        return ByDirection(np.arange(len(self.domain_of_image)), self.image_of_row)

    def averaged(self) -> list[tuple[npt.NDArray[np.bool_], ...]]:
        """Return the queries of both directions over which each mean is taken, before the mean over domains."""
        if self.joint:
            return [tuple(np.ones(len(each), dtype=bool) for each in self.images())]
        return self.domains()

    def domains(self) -> list[tuple[npt.NDArray[np.bool_], ...]]:
        """Return which queries of both directions belong to each domain, in the order of their numbers."""
        of_query = [self.domain_of_image[image] for image in self.images()]
        numbers = np.unique(self.domain_of_image)
        return [tuple(each == number for each in of_query) for number in numbers]


@dataclass(frozen=True)
class RankMetrics:
    """The metrics that ranks determine.

    Attributes:
        strict: by direction.
        caption: by direction.
        interval: by direction, of the strict recalls and of `mrr`.
        rsum: sum of the six strict recalls.
        rsum_interval: its interval.
        by_domain: strict metrics by direction, of each domain in the order of their numbers.
    """

    strict: dict[str, Summary]
    caption: dict[str, Summary]
    interval: dict[str, dict[str, Interval]]
    rsum: float
    rsum_interval: Interval
    by_domain: list[dict[str, Summary]]


def rank_metrics(strict: ByDirection, caption: ByDirection, groups: QueryGroups) -> RankMetrics:
    """Return all metrics that these ranks determine."""
    averaged = groups.averaged()
    tables = [
        _by_image(_select(strict, chosen), _select(groups.images(), chosen)) for chosen in averaged
    ]

    def interval(*columns: int) -> Interval:
        """Return the interval of the mean of these columns over the domains."""
        return score_interval([(sums[:, columns], counts[:, columns]) for sums, counts in tables])

    names = [*RECALLS, "mrr"]
    strict_means = _means(strict, averaged)
    low, high = interval(0, 1, 2, 4, 5, 6)  # the recalls
    return RankMetrics(
        strict=strict_means,
        caption=_means(caption, averaged),
        interval={
            direction: {name: interval(len(names) * side + n) for n, name in enumerate(names)}
            for side, direction in enumerate(DIRECTIONS)
        },
        rsum=sum(sum(each.recall.values()) for each in strict_means.values()),
        rsum_interval=(6 * low, 6 * high),
        by_domain=[
            {
                direction: summarize(ranks[queries])
                for direction, ranks, queries in zip(DIRECTIONS, strict, chosen, strict=True)
            }
            for chosen in groups.domains()
        ],
    )


def summarize(ranks: Indices) -> Summary:
    """Return recalls and averages of ranks.

    Raises:
        ValueError: there are no ranks.

    >>> summarize(np.array([1, 2, 4, 20])).mrr
    0.45
    """
    if not len(ranks):
        raise ValueError("no queries, so no recall")
    return Summary(
        queries=len(ranks),
        recall=recalls(ranks),
        mrr=float(np.mean(1 / ranks)),
        median_rank=float(np.median(ranks)),
        mean_rank=float(np.mean(ranks)),
    )


def recalls(ranks: Indices) -> dict[str, float]:
    """Return the share of ranks up to each K.

    >>> recalls(np.array([1, 6]))
    {'R@1': 0.5, 'R@5': 0.5, 'R@10': 1.0}
    """
    return {f"R@{k}": float(np.mean(ranks <= k)) for k in KS}


def _select(values: ByDirection, chosen: Sequence[npt.NDArray[np.bool_]]) -> ByDirection:
    return ByDirection(*(each[queries] for each, queries in zip(values, chosen, strict=True)))


def _means(
    ranks: ByDirection, averaged: Sequence[Sequence[npt.NDArray[np.bool_]]]
) -> dict[str, Summary]:
    """Return the summary of each direction."""
    parts = [_select(ranks, chosen) for chosen in averaged]
    return {
        direction: _mean([summarize(part[side]) for part in parts])
        for side, direction in enumerate(DIRECTIONS)
    }


def _mean(summaries: Sequence[Summary]) -> Summary:
    """Return the unweighted mean over domains; queries are summed."""
    return Summary(
        queries=sum(each.queries for each in summaries),
        recall={
            name: float(np.mean([each.recall[name] for each in summaries]))
            for name in summaries[0].recall
        },
        mrr=float(np.mean([each.mrr for each in summaries])),
        median_rank=float(np.mean([each.median_rank for each in summaries])),
        mean_rank=float(np.mean([each.mean_rank for each in summaries])),
    )


def _by_image(ranks: ByDirection, image: ByDirection) -> tuple[Any, Any]:
    """Return sums and numbers, (I, 8), of the recalls and MRR of both directions, by image."""
    sums, counts = [], []
    clusters = [np.unique(numbers, return_inverse=True)[1] for numbers in image]
    images = int(clusters[0].max()) + 1
    for side, cluster in zip(ranks, clusters, strict=True):
        values = [*(side <= k for k in KS), 1 / side]
        sums += [np.bincount(cluster, weights=value, minlength=images) for value in values]
        counts += [np.bincount(cluster, minlength=images)] * len(values)
    return np.stack(sums, axis=1), np.stack(counts, axis=1)


def first_difference(stated: object, computed: object, name: str) -> str:
    """Return where stated numbers differ from computed ones; empty if they agree up to rounding.

    >>> first_difference({"mrr": 0.99}, {"mrr": 0.5839}, "strict")
    'strict.mrr is 0.99, but the ranks give 0.5839'
    """
    if isinstance(computed, Mapping):
        found = stated if isinstance(stated, Mapping) else {}
        if found.keys() != computed.keys():
            return f"{name} has {', '.join(map(repr, found))}; expected {', '.join(map(repr, computed))}"
        parts = (first_difference(found[key], computed[key], f"{name}.{key}") for key in computed)
    elif isinstance(computed, tuple) and isinstance(stated, tuple):
        parts = (first_difference(*pair, name) for pair in zip(stated, computed, strict=True))
    elif np.isclose(float(stated), float(computed), rtol=1e-9, atol=1e-9):  # type: ignore[arg-type]
        return ""
    else:
        return f"{name} is {stated:g}, but the ranks give {computed:g}"
    return next(filter(None, parts), "")
