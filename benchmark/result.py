"""Result files: settings, metrics, ranks and versions of one run. The types below are the schema.

Files are checked when they are written and when they are read. Unknown fields are ignored, so that a
file with fields of a later release stays readable. This module imports no model code.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from benchmark.settings import SCHEMA_VERSION, Gallery, OptionValue, Settings
from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_write

KS = (1, 5, 10)
RECALLS = tuple(f"R@{k}" for k in KS)
DIRECTIONS = ("image_to_text", "text_to_image")

_LONGEST = 400  # characters of a message about a wrong field

Fraction = Annotated[float, Meta(ge=0, le=1)]
NonNegative = Annotated[float, Meta(ge=0)]
AtLeastOne = Annotated[float, Meta(ge=1)]
Count = Annotated[int, Meta(ge=1)]
Interval = tuple[NonNegative, NonNegative]
Numbers = Annotated[str, Meta(pattern="^[0-9]+( [0-9]+)*$")]
"""Numbers from 0, separated by spaces, in dataset order."""
RankList = Annotated[str, Meta(pattern="^[1-9][0-9]*( [1-9][0-9]*)*$")]
"""Ranks of all queries, separated by spaces, in dataset order."""


@dataclass(frozen=True)
class Epoch:
    """An epoch of training, or another stretch that ends with an evaluation."""

    loss: float
    validation_mrr: Fraction
    seconds: NonNegative
    step: Annotated[int, Meta(ge=0)] = 0
    """optimizer steps taken by its end; 0 if unknown, in files of version 0.1"""


@dataclass(frozen=True)
class FitLog:
    """All evaluations of a training; stages of a training follow each other, and their steps are added."""

    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: Annotated[int, Meta(ge=0)] = 0
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
    steps: Annotated[int, Meta(ge=0)]
    """optimizer steps of all trials"""
    validation_mrr: Fraction
    """of the chosen trial, mean of both directions"""
    chosen: dict[str, OptionValue]
    """values by option, as `-M` and `-T` set them"""


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
        _require(self.recall, RECALLS)


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
        _require(self.ceiling, RECALLS)
        _require(self.interval, (*RECALLS, "mrr"))


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
                _require(sides, DIRECTIONS)

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
    learned_parameters: Annotated[int, Meta(ge=0)]
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

    def __post_init__(self) -> None:
        _require(self.ranks, DIRECTIONS)
        _require(self.seconds, ("fit", "encode", "measure"))

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
    return _decode(value, path)


def read_results(paths: Path | Sequence[Path]) -> list[BenchResult]:
    """Read result files and folders of result files, each file once, folders in order of file name.

    Raises:
        FdrdError: a path is missing, a folder has no results, or a file is invalid.
    """
    files: dict[Path, None] = {}
    for path in [paths] if isinstance(paths, Path) else paths:
        if not path.exists():
            raise FdrdError(f"{path}: no such file or folder; `fdrd bench` writes results")
        found = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not found:
            raise FdrdError(f"{path} holds no results; `fdrd bench` writes them")
        files.update(dict.fromkeys(found))
    return [read_result(file) for file in files]


def _decode(value: object, path: Path) -> BenchResult:
    version = value.get("schema_version") if isinstance(value, dict) else None
    try:
        return msgspec.convert(value, BenchResult)
    except (msgspec.ValidationError, FdrdError) as error:
        hint = "" if version == SCHEMA_VERSION else "another version of fdrd wrote it; "
        flaw = str(error)
        if len(flaw) > _LONGEST:  # it quotes a value, and ends with the field
            flaw = f"{flaw[: _LONGEST // 2]}...{flaw[-_LONGEST // 2 :]}"
        raise FdrdError(f"{path}: {flaw}; {hint}delete it to run again") from error


def _require(found: Iterable[str], names: Sequence[str]) -> None:
    if missing := [name for name in names if name not in set(found)]:
        raise ValueError(f"missing {', '.join(missing)}")
