"""Result files: settings, metrics, ranks and versions of one run. The types below are the schema.

Files are checked when they are written and when they are read: types, ranges, lengths, and that the metrics are
those that the ranks give. Everything that reads results reads them here. Unknown fields are ignored, so that a
file with fields of a later release stays readable. This module imports no model code.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta

from benchmark.rank_metrics import DIRECTIONS as DIRECTIONS
from benchmark.rank_metrics import KS as KS
from benchmark.rank_metrics import (
    LARGEST_COUNT,
    ByDirection,
    Count,
    Fraction,
    Indices,
    NonNegative,
    QueryGroups,
    first_difference,
    rank_metrics,
    require,
)
from benchmark.rank_metrics import RECALLS as RECALLS
from benchmark.rank_metrics import Interval as Interval
from benchmark.rank_metrics import Summary as Summary
from benchmark.settings import SCHEMA_VERSION, Digest, Gallery, OptionValue, Settings
from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_write
from fdrd.kinds import kind_of, refuse_other
from fdrd.text.controls import visible

_LONGEST = 400  # characters of a message about a wrong field

CountFromZero = Annotated[int, Meta(ge=0, le=LARGEST_COUNT)]
Numbers = Annotated[str, Meta(pattern="^[0-9]{1,9}( [0-9]{1,9})*$")]
"""Numbers from 0, separated by spaces, in dataset order."""
RankList = Annotated[str, Meta(pattern="^[1-9][0-9]{0,8}( [1-9][0-9]{0,8})*$")]
"""Ranks of all queries, separated by spaces, in dataset order."""


@dataclass(frozen=True)
class Epoch:
    """An epoch of training, or another stretch that ends with an evaluation."""

    loss: float
    validation_mrr: Fraction
    seconds: NonNegative
    step: CountFromZero = 0
    """optimizer steps taken by its end; 0 if unknown, in files of version 0.1"""


@dataclass(frozen=True)
class FitLog:
    """All evaluations of a training; stages of a training follow each other, and their steps are added."""

    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: CountFromZero = 0
    """the one that was kept, counted from 1; 0 is the untrained state"""
    untrained_mrr: Fraction | None = None
    """before the first step; None if that was not evaluated"""
    zero_shot_mrr: Fraction | None = None
    """of the frozen backbone on the same rows; None if its features are not cached, or in files of earlier releases"""

    def __post_init__(self) -> None:
        if self.best_epoch > len(self.epochs):
            raise ValueError(f"best_epoch is {self.best_epoch} of {len(self.epochs)}")

    @property
    def steps(self) -> int:
        """Optimizer steps taken."""
        return self.epochs[-1].step if self.epochs else 0

    @property
    def best_step(self) -> int:
        """Optimizer steps that the kept state has taken."""
        return self.epochs[self.best_epoch - 1].step if self.best_epoch else 0

    @property
    def best_mrr(self) -> float:
        """Validation MRR of the best state so far, -1 before the first evaluation."""
        found = [each.validation_mrr for each in self.epochs]
        return max([-1.0 if self.untrained_mrr is None else self.untrained_mrr, *found])

    def after(self, stage: FitLog) -> FitLog:
        """Return the log of an earlier stage, continued by this one, whose untrained state that stage kept.

        >>> first, second = (FitLog([Epoch(1.0, mrr, 1.0, 10)], 1) for mrr in (0.5, 0.6))
        >>> second.after(first).steps, second.after(first).best_step, FitLog().after(first).best_step
        (20, 20, 10)
        """
        moved = [dataclasses.replace(each, step=stage.steps + each.step) for each in self.epochs]
        best = len(stage.epochs) + self.best_epoch if self.best_epoch else stage.best_epoch
        return FitLog([*stage.epochs, *moved], best, stage.untrained_mrr, self.zero_shot_mrr)


@dataclass(frozen=True)
class TuningLog:
    """How the options of a run were chosen on the validation split."""

    trials: Count
    """settings that were trained, including those stopped early"""
    finished: Count
    """trials that finished; the best of them was chosen"""
    steps: CountFromZero
    """optimizer steps of all trials"""
    validation_mrr: Fraction
    """of the chosen trial, mean of both directions"""
    chosen: dict[str, OptionValue]
    """values by option, as `-M` and `-T` set them"""


@dataclass(frozen=True)
class Direction:
    """Metrics of one retrieval direction."""

    strict: Summary
    """relevant: rows of the same image"""
    caption: Summary
    """also relevant: rows with an equal caption"""
    ceiling: dict[str, Fraction]
    """strict recalls of a perfect method; below 1 if images share a caption"""
    category_recall_1: Fraction | None
    """share of queries whose first result has the right category; None if rows have no category"""
    interval: dict[str, Interval]
    """95 % intervals of the strict recalls and of `mrr`, for other images like these"""
    recall_expected: dict[str, Fraction] | None = None
    """strict recalls if ties are broken at random, as in other tools; None in files of earlier releases"""

    def __post_init__(self) -> None:
        require(self.ceiling, RECALLS)
        require(self.interval, (*RECALLS, "mrr"))


@dataclass(frozen=True)
class Share:
    """Share of rows whose caption scores above all its hard negatives of one kind; a tie is a loss."""

    accuracy: Fraction
    rows: Count
    chance: Fraction
    """accuracy of guessing"""
    blind: Fraction | None
    """accuracy of the text-only baseline; None without training captions"""


@dataclass(frozen=True)
class RetrievalMetrics:
    """All metrics of one method on one split."""

    gallery: Gallery
    image_to_text: Direction
    text_to_image: Direction
    rsum: Annotated[float, Meta(ge=0, le=6)]
    """sum of the six strict recalls"""
    rsum_interval: Interval
    hard_negatives: dict[str, Share]
    """by `all`, kind and `attribute: type`; empty without negatives, or if they were not measured"""
    by_domain: dict[str, dict[str, Summary]]
    """domain -> direction -> strict metrics"""
    by_category: dict[str, dict[str, Summary]]
    """category -> direction -> strict metrics of the queries of that category"""

    def __post_init__(self) -> None:
        for breakdown in (self.by_domain, self.by_category):
            for sides in breakdown.values():
                require(sides, DIRECTIONS)

    def direction(self, name: str) -> Direction:
        """Return the metrics of one of `DIRECTIONS`."""
        return self.image_to_text if name == "image_to_text" else self.text_to_image


@dataclass(frozen=True)
class Queries:
    """Which image each row belongs to, and which domain each image belongs to."""

    image_of_row: Numbers
    domain_of_image: Numbers


@dataclass(frozen=True)
class QueryRanks:
    """Ranks of all queries of one direction."""

    strict: RankList
    caption: RankList


@dataclass(frozen=True)
class BenchResult:
    """Result of one method on one split. Metrics are fractions, times are seconds."""

    schema_version: Literal[2]
    settings: Settings
    learned_parameters: CountFromZero
    fit: FitLog | None
    metrics: RetrievalMetrics
    queries: Queries
    ranks: dict[str, QueryRanks]
    """by direction: one rank per image, one rank per row"""
    seconds: dict[str, NonNegative]
    """`fit`, `encode`, `measure`"""
    versions: dict[str, str]
    peak_megabytes: NonNegative | None = None
    """peak memory of the accelerator, or on the CPU of the process, training included"""
    tuning: TuningLog | None = None
    """None if the options were not searched for this run"""
    truncated: Fraction | None = None
    """share of distinct captions beyond the encoder's context; None if unknown, as in files of earlier releases"""
    learned: Digest | None = None
    """digest of the learned tensors, also those of a given checkpoint; None if nothing is learned, and as above"""

    def __post_init__(self) -> None:
        require(self.ranks, DIRECTIONS)
        require(self.seconds, ("fit", "encode", "measure"))

    def _repr_html_(self) -> str:
        """Return the strict recalls and MRR as a table, for notebooks."""
        rows = []
        for way in DIRECTIONS:
            strict = self.metrics.direction(way).strict
            cells = (
                f"<td>{100 * value:.2f}</td>" for value in (*strict.recall.values(), strict.mrr)
            )
            rows.append(f"<tr><th>{way.replace('_', ' ')}</th>{''.join(cells)}</tr>")
        head = "".join(f"<th>{name}</th>" for name in ("percent", *RECALLS, "MRR"))
        where = f"{self.settings.method} on {self.settings.data.name}, {self.settings.split}"
        return f"<table><caption>{escape(where)}</caption><tr>{head}</tr>{''.join(rows)}</table>"


def to_json(result: BenchResult) -> dict[str, Any]:
    """Return the result as JSON data.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    value: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(result), allow_nan=False))
    return value


def write_result(result: BenchResult, path: Path) -> None:
    """Check the result and write it atomically."""
    value = to_json(result)
    _decode(value, path)
    with atomic_write(path) as file:
        file.write((json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def read_result(path: Path) -> BenchResult:
    """Read a result file.

    Raises:
        FdrdError: the file is missing, not JSON, or a field is wrong; the message names the field.
    """
    try:
        value = msgspec.json.decode(path.read_bytes())
    except (OSError, ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise FdrdError(f"{path} is not a result file ({error}); delete it to run again") from error
    if not isinstance(value, dict) or "settings" not in value:
        raise FdrdError(f"{path} is not a result file; `fdrd bench` writes results")
    return _decode(value, path)


def read_results(paths: Path | Sequence[Path]) -> list[BenchResult]:
    """Read result files and folders of result files, as `result_files` lists them.

    Raises:
        FdrdError: as `result_files`, or a file is invalid.
    """
    return [read_result(file) for file in result_files(paths)]


def result_files(paths: Path | Sequence[Path]) -> list[Path]:
    """Return result files and those of folders, each once, folders in order of file name.

    Raises:
        FdrdError: a path is missing or of another kind, or a folder has no results.
    """
    files: dict[Path, None] = {}
    for path in [paths] if isinstance(paths, Path) else paths:
        if not path.exists():
            raise FdrdError(f"{path}: no such file or folder; `fdrd bench` writes results")
        found = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not any(kind_of(file) == "result" for file in found):
            refuse_other(path, "results", "results", "result")
        if not found:
            raise FdrdError(f"{path} holds no results; `fdrd bench` writes them")
        files.update(dict.fromkeys(found))
    return list(files)


def _decode(value: object, path: Path) -> BenchResult:
    version = value.get("schema_version") if isinstance(value, dict) else None
    try:
        result = msgspec.convert(value, BenchResult)
        _check_arrays(result)
        _check_metrics(result)
    except (msgspec.ValidationError, ValueError, FdrdError) as error:
        hint = "" if version == SCHEMA_VERSION else "another version of fdrd wrote it; "
        flaw = " ".join(visible(str(error)).split())
        if len(flaw) > _LONGEST:  # it quotes a value, and ends with the field
            flaw = f"{flaw[: _LONGEST // 2]}...{flaw[-_LONGEST // 2 :]}"
        raise FdrdError(f"{path}: {flaw}; {hint}delete it to run again") from error
    return result


def numbers(text: str) -> Indices:
    """Return numbers separated by spaces as an array."""
    return np.array(text.split(), dtype=np.int64)


def query_groups(result: BenchResult) -> QueryGroups:
    """Return which queries of a result belong together."""
    queries = result.queries
    return QueryGroups(
        numbers(queries.image_of_row),
        numbers(queries.domain_of_image),
        result.settings.gallery == "joint",
    )


def _check_arrays(result: BenchResult) -> None:
    """Raise `ValueError` if lengths or numbers of the arrays of a result do not fit together.

    Everything that is allocated later has the length of one of these arrays, which the file holds.
    """
    groups = query_groups(result)
    image, domain = groups.image_of_row, groups.domain_of_image
    for name, values, limit in (
        ("queries.image_of_row", image, len(domain)),
        ("queries.domain_of_image", domain, len(result.metrics.by_domain)),
    ):
        if not np.array_equal(np.unique(values), np.arange(limit)):
            raise ValueError(f"{name} does not name each of the numbers 0 to {limit - 1}")
    gallery = result.settings.gallery
    if result.metrics.gallery != gallery:
        raise ValueError(f"metrics.gallery is {result.metrics.gallery}, settings.gallery {gallery}")
    for way, items in zip(DIRECTIONS, _gallery_sizes(groups, gallery), strict=True):
        for kind in ("strict", "caption"):
            ranks, name = numbers(getattr(result.ranks[way], kind)), f"ranks.{way}.{kind}"
            if len(ranks) != len(items):
                raise ValueError(f"{name} has {len(ranks)} ranks, expected {len(items)}")
            if (ranks > items).any():
                query = int(np.argmax(ranks > items))
                raise ValueError(
                    f"{name} has rank {ranks[query]} of {items[query]} items for query {query}"
                )


def _gallery_sizes(groups: QueryGroups, gallery: Gallery) -> ByDirection:
    """Return at least as many items as each query ranks: rows for images, images for rows."""
    images, rows = groups.images()
    if gallery == "joint":
        return ByDirection(np.full(len(images), len(rows)), np.full(len(rows), len(images)))
    domain_of_row = groups.domain_of_image[rows]
    n_rows, n_images = np.bincount(domain_of_row), np.bincount(groups.domain_of_image)
    if gallery != "domain":
        if gallery > n_images.min():
            raise ValueError(f"settings.gallery is {gallery}, of {n_images.min()} images")
        n_images = np.full(len(n_images), gallery)
    return ByDirection(n_rows[groups.domain_of_image], n_images[domain_of_row])


def _check_metrics(result: BenchResult) -> None:
    """Raise `ValueError` if a metric is not the one that the ranks give, or cannot be one.

    Categories and scores of hard negatives are not in the file, so their metrics are checked for consistency only.
    """
    strict, caption = (
        ByDirection(*(numbers(getattr(result.ranks[way], kind)) for way in DIRECTIONS))
        for kind in ("strict", "caption")
    )
    computed = rank_metrics(strict, caption, query_groups(result))
    metrics = result.metrics
    stated = {way: metrics.direction(way) for way in DIRECTIONS}
    pairs: list[tuple[str, object, object]] = [
        (f"{way}.{kind}", getattr(stated[way], kind), getattr(computed, kind)[way])
        for way in DIRECTIONS
        for kind in ("strict", "caption", "interval")
    ]
    pairs += [
        (name, getattr(metrics, name), getattr(computed, name))
        for name in ("rsum", "rsum_interval")
    ]
    pairs += [
        (f"by_domain.{name!r}.{way}", sides[way], expected[way])
        for (name, sides), expected in zip(
            metrics.by_domain.items(), computed.by_domain, strict=True
        )
        for way in DIRECTIONS
    ]
    for name, mine, theirs in pairs:
        if difference := first_difference(_plain(mine), _plain(theirs), f"metrics.{name}"):
            raise ValueError(difference)
    for way, ranks in zip(DIRECTIONS, strict, strict=True):
        random_ties, recall = stated[way].recall_expected, stated[way].strict.recall
        if random_ties is not None and any(
            random_ties.get(name, 0.0) < value - 1e-9 for name, value in recall.items()
        ):
            raise ValueError(f"metrics.{way}.recall_expected is below the strict recall")
        _check_categories([sides[way] for sides in metrics.by_category.values()], ranks, way)
    _check_hard_negatives(metrics.hard_negatives, len(strict.text_to_image))


def _plain(value: object) -> object:
    return dataclasses.asdict(value) if isinstance(value, Summary) else value


def _check_categories(parts: Sequence[Summary], ranks: Indices, way: str) -> None:
    """Raise `ValueError` unless the metrics by category can be those of parts of these queries."""
    name = f"metrics.by_category, {way}"
    if sum(each.queries for each in parts) > len(ranks):
        raise ValueError(f"{name} counts more than {len(ranks)} queries")
    complete = sum(each.queries for each in parts) == len(ranks)
    sums: dict[str, tuple[list[float], float]] = {
        f"R@{k}": ([each.recall[f"R@{k}"] for each in parts], float((ranks <= k).sum())) for k in KS
    }
    sums["mrr"] = ([each.mrr for each in parts], float((1 / ranks).sum()))
    sums["mean_rank"] = ([each.mean_rank for each in parts], float(ranks.sum()))
    for column, (values, total) in sums.items():
        found = sum(each.queries * value for each, value in zip(parts, values, strict=True))
        slack = 1e-6 * max(1.0, total)
        if found > total + slack or (complete and found < total - slack):
            raise ValueError(f"{name}: {column} of the categories does not agree with the ranks")


def _check_hard_negatives(shares: Mapping[str, Share], rows: int) -> None:
    """Raise `ValueError` unless shares can be those of this many rows; `all` covers those of every kind."""
    whole = shares.get("all")
    if shares and whole is None:
        raise ValueError("metrics.hard_negatives lacks `all`")
    for kind, share in shares.items():
        name = f"metrics.hard_negatives.{kind!r}"
        won = share.accuracy * share.rows
        if share.rows > rows:
            raise ValueError(f"{name} counts more than {rows} rows")
        if abs(won - round(won)) > 1e-6 * share.rows:
            raise ValueError(
                f"{name}.accuracy is {share.accuracy:g}, which is no share of {share.rows} rows"
            )
        if whole is not None and (
            share.rows > whole.rows
            # A row that wins against all its negatives wins against those of each kind.
            or won < whole.accuracy * whole.rows - (whole.rows - share.rows) - 1e-6 * rows
        ):
            raise ValueError(f"{name} does not agree with `all`")
