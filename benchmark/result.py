"""Result files: settings, metrics, ranks and versions of one run. The types below are the schema.

Files are checked when they are written and when they are read: types, ranges, lengths, and that the metrics are
those that the ranks give. Everything that reads results reads them here. Unknown fields are ignored, so that a
file with fields of a later release stays readable. This module imports no model code.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from benchmark.rank_metrics import (
    BOTH,
    DIRECTIONS,
    METRICS,
    PAIRS,
    RECALLS,
    ByDirection,
    Count,
    CountFromZero,
    Fraction,
    Indices,
    Mask,
    MetricValues,
    NonNegative,
    QueryGroups,
    RetrievalMetrics,
    Share,
    columns,
    completed,
    main_columns,
    pair_metrics,
    rank_metrics,
    require,
)
from benchmark.settings import SCHEMA_VERSION, Digest, Gallery, OptionValue, Settings
from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_write
from fdrd.kinds import kind_of, refuse_other
from fdrd.record import Kind
from fdrd.text.markup import visible

_LONGEST = 400  # characters of a message about a wrong field

Numbers = Annotated[str, Meta(pattern="^[0-9]{1,9}( [0-9]{1,9})*$")]
"""Numbers from 0, separated by spaces, in dataset order."""
RankList = Annotated[str, Meta(pattern="^[1-9][0-9]{0,8}( [1-9][0-9]{0,8})*$")]
"""Ranks of all queries, separated by spaces, in dataset order."""

Digits = Annotated[str, Meta(pattern="^[01]+$")]
DigitsByRow = Annotated[str, Meta(pattern="^((-|[01]+)( (-|[01]+))*)?$")]
"""One word for each row: digits, or `-` for a row that has none."""


@dataclass(frozen=True)
class Epoch:
    """An epoch of training, or another stretch that ends with an evaluation."""

    loss: float
    validation_mrr: Fraction
    seconds: NonNegative
    step: CountFromZero
    """optimizer steps taken by its end"""
    pairs: CountFromZero = 0
    """training pairs in the batches of these steps, with repetitions; 0 in files of earlier releases"""


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
    def pairs(self) -> int:
        """Training pairs in the batches of all steps, with repetitions."""
        return self.epochs[-1].pairs if self.epochs else 0

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
        """Return this log after that of an earlier stage.

        >>> first, second = (FitLog([Epoch(1.0, mrr, 1.0, 10)], 1) for mrr in (0.5, 0.6))
        >>> second.after(first).steps, second.after(first).best_step, FitLog().after(first).best_step
        (20, 20, 10)
        """
        moved = [
            dataclasses.replace(each, step=stage.steps + each.step, pairs=stage.pairs + each.pairs)
            for each in self.epochs
        ]
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
class PairWins:
    """Which natural pairs of one kind are won, one digit per pair: 1 for a win."""

    rows: Numbers
    """two rows for each pair"""
    text: Digits
    """both images score higher with their own caption"""
    image: Digits
    """both captions score higher with their own image"""
    caption_of_row: Annotated[str, Meta(pattern="^[01]*$")] = ""
    """one digit for each of `rows`: its image scores higher with its own caption; empty in files of earlier releases"""

    def metrics(self) -> MetricValues:
        """Return the metrics of these pairs."""
        return pair_metrics(from_digits(self.text), from_digits(self.image))


@dataclass(frozen=True, repr=False)
class BenchResult:
    """Result of one method on one split. Metrics are fractions, times are seconds.

    `result["I2T R@1"]` is a metric by its heading.
    """

    schema_version: Literal[4]
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
    natural_pairs: dict[Kind, PairWins] = field(default_factory=dict)
    """by kind; empty if the split has none"""
    learned: Digest | None = None
    """digest of the learned tensors, also those of a given checkpoint; None if nothing is learned, and as above"""
    negative_wins: DigitsByRow = ""
    """a digit for each hard negative: 1 if the true caption scores higher; empty if not measured, and as above"""
    date: Annotated[str, Meta(pattern=r"^(\d{4}-\d{2}-\d{2})?$")] = ""
    """day of the measurement, in UTC; empty in files of earlier releases"""

    def __post_init__(self) -> None:
        require(self.ranks, DIRECTIONS)
        require(self.seconds, ("fit", "encode", "measure"))

    @property
    def method(self) -> str:
        """The name of the method."""
        return self.settings.method

    @property
    def mrr(self) -> float:
        """MRR, the mean of both directions."""
        return self.metrics.by_direction[BOTH]["MRR"]

    def __getitem__(self, title: str) -> float:
        values = {each.title: each.value(self.metrics) for each in columns()}
        known = {name: value for name, value in values.items() if value is not None}
        if title not in known:
            raise KeyError(f"{title}: not measured; choose from {', '.join(known)}")
        return known[title]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON data, as its file has it.

        Raises:
            ValueError: a number is NaN or infinite.
        """
        return dict(json.loads(json.dumps(dataclasses.asdict(self), allow_nan=False)))

    def _shown(self) -> tuple[str, dict[str, list[tuple[str, str]]]]:
        """Return a title, and headings and texts of the main metrics by direction."""
        settings = self.settings
        seed = "" if settings.seed is None else f", seed {settings.seed}"
        title = f"{settings.method} on {settings.data.name}, {settings.split}{seed}; percent"
        cells: dict[str, list[tuple[str, str]]] = {name: [] for name in (*DIRECTIONS, BOTH)}
        for each in main_columns():
            cells[each.direction].append((each.title, each.text(each.value(self.metrics))))
        return visible(title), cells

    def __repr__(self) -> str:
        title, cells = self._shown()
        lines = (", ".join(map(" ".join, each)) for each in cells.values())
        return "\n  ".join([f"BenchResult: {title}", *lines])

    def _repr_html_(self) -> str:
        """Return the main metrics as a table, for notebooks."""
        title, cells = self._shown()
        shown = [cell for each in cells.values() for cell in each]
        head = "".join(f"<th>{escape(name)}</th>" for name, _ in shown)
        row = "".join(f"<td>{text}</td>" for _, text in shown)
        return f"<table><caption>{escape(title)}</caption><tr>{head}</tr><tr>{row}</tr></table>"


def write_result(result: BenchResult, path: Path) -> None:
    """Check the result and write it atomically."""
    value = result.to_dict()
    _decode(value, path)
    with atomic_write(path) as file:
        file.write((json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def read_result(path: str | Path) -> BenchResult:
    """Read a result file. Metrics that the ranks determine are computed again, also those that it lacks.

    Raises:
        FdrdError: the file is missing, not JSON, or a field is wrong; the message names the field.
    """
    path = Path(path)
    try:
        value = msgspec.json.decode(path.read_bytes())
    except (OSError, ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise FdrdError(f"{path} is not a result file ({error}); delete it to run again") from error
    if not isinstance(value, dict) or "settings" not in value:
        raise FdrdError(f"{path} is not a result file; `fdrd bench` writes results")
    return _decode(value, path)


def read_results(paths: str | Path | Sequence[str | Path]) -> list[BenchResult]:
    """Read result files and folders of result files, as `result_files` lists them."""
    return [read_result(file) for file in result_files(paths)]


def open_results(
    results: str | Path | BenchResult | Sequence[str | Path | BenchResult],
) -> list[BenchResult]:
    """Return results as they are, and those of result files and of folders, as `read_results`."""
    items = [results] if isinstance(results, str | Path | BenchResult) else results
    ready = [each for each in items if isinstance(each, BenchResult)]
    return ready + read_results([each for each in items if not isinstance(each, BenchResult)])


def result_files(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return result files and those of folders, each once, folders in order of file name.

    Raises:
        FdrdError: a path is missing or of another kind, or a folder has no results.
    """
    files: dict[Path, None] = {}
    for path in map(Path, [paths] if isinstance(paths, str | Path) else paths):
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
        metrics = _checked_metrics(result)
    except (msgspec.ValidationError, ValueError, FdrdError) as error:
        hint = "" if version == SCHEMA_VERSION else "another version of fdrd wrote it; "
        flaw = " ".join(visible(str(error)).split())
        if len(flaw) > _LONGEST:  # it quotes a value, and ends with the field
            flaw = f"{flaw[: _LONGEST // 2]}...{flaw[-_LONGEST // 2 :]}"
        raise FdrdError(f"{path}: {flaw}; {hint}delete it to run again") from error
    return dataclasses.replace(result, metrics=metrics)


def numbers(text: str) -> Indices:
    """Return numbers separated by spaces as an array."""
    return np.array(text.split(), dtype=np.int64)


def digits(won: npt.ArrayLike) -> str:
    """Return wins as digits, 1 for a win."""
    return "".join("1" if each else "0" for each in np.ravel(won))


def from_digits(text: str) -> Mask:
    """Return the wins of `digits`."""
    won: Mask = np.frombuffer(text.encode(), np.uint8) == ord("1")
    return won


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
    for kind, wins in result.natural_pairs.items():
        _check_pairs(wins, len(image), f"natural_pairs.{kind}")
    sizes = _gallery_sizes(groups, result.settings.gallery)
    for way, items in zip(DIRECTIONS, sizes, strict=True):
        for name, ranks in _ranks(result, way).items():
            field_name = f"ranks.{way}.{name}"
            if len(ranks) != len(items):
                raise ValueError(f"{field_name} has {len(ranks)} ranks, expected {len(items)}")
            if (ranks > items).any():
                query = int(np.argmax(ranks > items))
                rank = f"rank {ranks[query]} of {items[query]} items for query {query}"
                raise ValueError(f"{field_name} has {rank}")


def _ranks(result: BenchResult, way: str) -> dict[str, Indices]:
    return {name: numbers(text) for name, text in vars(result.ranks[way]).items()}


def _check_pairs(wins: PairWins, rows: int, name: str) -> None:
    pairs = numbers(wins.rows)
    for side, count in (("text", len(wins.text)), ("image", len(wins.image))):
        if len(pairs) != 2 * count:
            raise ValueError(f"{name}.{side} has {count} digits for {len(pairs)} rows")
    if wins.caption_of_row and not (
        len(wins.caption_of_row) == len(pairs)
        and digits(from_digits(wins.caption_of_row).reshape(-1, 2).all(axis=1)) == wins.text
    ):
        raise ValueError(f"{name}.caption_of_row does not agree with {name}.text")
    if pairs.max() >= rows:
        raise ValueError(f"{name}.rows has row {pairs.max()} of {rows}")
    if (pairs[::2] >= pairs[1::2]).any():
        raise ValueError(f"{name}.rows has a pair that is not in order")


def _gallery_sizes(groups: QueryGroups, gallery: Gallery) -> ByDirection[Indices]:
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


def _checked_metrics(result: BenchResult) -> RetrievalMetrics:
    """Return the metrics, with those that the ranks give.

    Categories, ties and scores of hard negatives are not in the file, so their metrics are checked for
    consistency only.
    """
    ranks = {way: _ranks(result, way) for way in DIRECTIONS}
    metrics = result.metrics
    computed, by_domain = rank_metrics(ranks, query_groups(result))
    computed |= {PAIRS[kind]: wins.metrics() for kind, wins in result.natural_pairs.items()}
    metrics = dataclasses.replace(
        metrics,
        by_direction=completed(metrics.by_direction, computed, "metrics.by_direction"),
        by_domain={
            name: completed(sides, expected, f"metrics.by_domain.{name!r}")
            for (name, sides), expected in zip(metrics.by_domain.items(), by_domain, strict=True)
        },
    )
    for way in DIRECTIONS:
        side = metrics.by_direction[way]
        for name in RECALLS:
            if side.values.get(f"expected {name}", 1.0) < side[name] - 1e-9:
                raise ValueError(f"metrics.by_direction.{way}.expected {name} is below {name}")
        _check_categories(metrics.by_category.values(), ranks[way]["strict"], way)
    rows = len(ranks["text_to_image"]["strict"])
    _check_hard_negatives(metrics.hard_negatives, rows)
    _check_negative_wins(result.negative_wins.split(), metrics.hard_negatives.get("all"), rows)
    return metrics


def _check_categories(
    parts: Iterable[Mapping[str, MetricValues]], ranks: Indices, way: str
) -> None:
    """Raise `ValueError` unless the metrics by category can be those of parts of these queries."""
    name, sides = f"metrics.by_category, {way}", [part[way] for part in parts]
    queries = sum(each.queries for each in sides)
    if queries > len(ranks):
        raise ValueError(f"{name} counts more than {len(ranks)} queries")
    for metric in METRICS.values():
        known = all(metric.name in each.values for each in sides)
        if metric.inputs != ("strict",) or metric.reduce != "mean" or not known:
            continue
        values = metric.values(ranks)
        found, total = sum(each.queries * each[metric.name] for each in sides), float(values.sum())
        slack = 1e-6 * max(1.0, abs(total))
        bounded = queries < len(ranks) and (values >= 0).all()  # the other queries add to the sum
        if found > total + slack or (not bounded and abs(found - total) > slack):
            raise ValueError(
                f"{name}: {metric.name} of the categories does not agree with the ranks"
            )


def _check_hard_negatives(shares: Mapping[str, Share], rows: int) -> None:
    """Raise `ValueError` unless shares can be those of this many rows; `all` covers those of every kind."""
    if not shares:
        return
    if (whole := shares.get("all")) is None:
        raise ValueError("metrics.hard_negatives lacks `all`")
    for kind, share in shares.items():
        name = f"metrics.hard_negatives.{kind!r}"
        share.check(name)
        if share.rows > rows:
            raise ValueError(f"{name} counts more than {rows} rows")
        # A row that wins against all its negatives wins against those of each kind.
        least = whole.won - (whole.rows - share.rows) - 1e-6 * rows
        if share.rows > whole.rows or share.won < least:
            raise ValueError(f"{name} does not agree with `all`")


def _check_negative_wins(wins: Sequence[str], whole: Share | None, rows: int) -> None:
    """Raise `ValueError` unless the wins of each row, if known, give the accuracy of `all`."""
    if not wins:
        return
    if len(wins) != rows:
        raise ValueError(f"negative_wins has {len(wins)} words, expected {rows}")
    known = [each for each in wins if each != "-"]
    won = sum("0" not in each for each in known)
    if whole is None or whole.rows != len(known) or abs(whole.won - won) > 0.5:
        raise ValueError("negative_wins does not agree with metrics.hard_negatives")
