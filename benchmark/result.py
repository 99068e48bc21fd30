"""The result file: settings, numbers, ranks and versions of one run, from which it can be repeated.

Its form is `schemas/result.schema.json`, checked when it is written and when it is read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import types
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from benchmark.evaluation.base_to_new import Half
from benchmark.evaluation.galleries import Gallery
from benchmark.evaluation.metrics import DIRECTIONS, RetrievalMetrics
from benchmark.evaluation.ranking import BothRanks
from benchmark.registry import FitLog
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_write
from fdrd.storage.manifest import schema

SCHEMA_VERSION = 2
"""Raised when the form changes, and when metrics, defaults or preprocessing change the numbers."""


@dataclass(frozen=True)
class Named:
    """A dataset split or a backbone: what it was called, and the digest of what it is."""

    name: str
    fingerprint: str


NO_BACKBONE = Named("none", "0" * 64)
"""Of a method that asks for no backbone, run on its own."""


@dataclass(frozen=True)
class Settings:
    """All that decides the numbers of a run."""

    method: str
    code: str
    """digest of the source that defines the method"""
    options: dict[str, Any]
    """resolved: defaults included"""
    options_given: dict[str, Any]
    train: dict[str, Any] | None
    """resolved `TrainConfig`; null where nothing is trained"""
    train_given: dict[str, Any]
    seed: int | None
    """null where it changes nothing"""
    split: str
    domain: str | None
    train_domain: str | None
    """where it is not the domain that is measured: another, or `all`"""
    categories: Named | None
    """the list of base categories; only these are learned from"""
    half: Half | None
    """what is measured of them: `base` the listed categories, `new` the others"""
    shots: int | None
    gallery: Gallery
    data: Named
    backbone: Named
    learned_from: dict[str, str]
    """fingerprints of the training and validation rows"""
    checkpoint: str | None
    """sha256 of the checkpoint that took the place of training"""
    blind_from: str | None = None
    """fingerprint of the rows that the blind reader learned from; null where there is no such reader"""
    remarks: dict[str, str] = field(default_factory=dict)
    """what must be said wherever the numbers are printed: a word for the name, and the sentence"""

    def identity(self) -> str:
        """Digest of what decides the numbers, so not of names and of what was typed or remarked."""
        said = dataclasses.asdict(self)
        del said["options_given"], said["train_given"], said["remarks"]
        for named in ("data", "backbone", "categories"):
            said[named] = said[named] and said[named]["fingerprint"]
        said["schema_version"] = SCHEMA_VERSION
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Queries:
    """Who belongs together, as numbers between spaces, counted from 0 in order of the dataset."""

    image_of_row: str
    """image of each row"""
    domain_of_image: str
    """domain of each image"""


@dataclass(frozen=True)
class QueryRanks:
    """Ranks of all queries of a direction in order of the dataset, as numbers between spaces."""

    strict: str
    caption: str


@dataclass(frozen=True)
class BenchResult:
    """One method on one split."""

    schema_version: int
    settings: Settings
    learned_parameters: int
    fit: FitLog | None
    metrics: RetrievalMetrics
    queries: Queries
    ranks: dict[str, QueryRanks]
    """by direction: image by image, row by row"""
    seconds: dict[str, float]
    versions: dict[str, str]


def file_name(settings: Settings) -> str:
    """The same for the same settings, so that a finished run is found again."""
    return f"{settings.method}-{settings.split}-{settings.identity()[:16]}.json"


def to_json(result: BenchResult) -> dict[str, Any]:
    """The result as the schema describes it."""
    value: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(result), allow_nan=False))
    return value


def write_result(result: BenchResult, path: Path) -> None:
    """Check and write, whole or not at all."""
    value = to_json(result)
    _check(value, path)
    with atomic_write(path) as file:
        file.write((json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def read_result(path: Path) -> BenchResult:
    """A result that `write_result` wrote.

    Raises:
        FdrdError: the file is missing, no JSON, or not what the schema says.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FdrdError(f"{path} is no result file ({error}); delete it to run again") from error
    _check(value, path)
    result: BenchResult = _build(BenchResult, value)
    return result


def read_results(folder: Path) -> list[BenchResult]:
    """All results in a folder, by file name.

    Raises:
        FdrdError: there are none, or one of them is broken.
    """
    return [read_result(path) for path in _files(folder)]


def read_runs(paths: Sequence[Path]) -> list[BenchResult]:
    """The results of some files, and of folders of such, each file once.

    Raises:
        FdrdError: one is missing, broken, or a folder without results.
    """
    files: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise FdrdError(f"{path}: no such file or folder; give results, such as runs/")
        files.update(dict.fromkeys(_files(path) if path.is_dir() else [path]))
    return [read_result(file) for file in files]


def queries_of(dataset: RetrievalDataset) -> Queries:
    """Which image each row asks about, and the domain of each image."""
    return Queries(*(_numbers(each) for each in (dataset.pairs[:, 0], dataset.image_domain)))


def ranks_as_text(ranks: BothRanks) -> dict[str, QueryRanks]:
    """All ranks, compactly."""
    return {
        direction: QueryRanks(*map(_numbers, (side.strict, side.caption)))
        for direction, side in zip(DIRECTIONS, ranks, strict=True)
    }


def installed_versions() -> dict[str, str]:
    """What the numbers may depend on besides the settings."""
    found = {"python": platform.python_version()}
    for package in ("fdrd", "torch", "transformers", "numpy", "datasets"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a checkout
            found[package] = "not installed"
    return found


def _files(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise FdrdError(f"{folder} holds no results; `fdrd bench` writes them")
    return paths


def _numbers(values: Iterable[int]) -> str:
    return " ".join(map(str, values))


def _check(value: Any, path: Path) -> None:
    error = next(iter(schema("result").iter_errors(value)), None)
    if error is not None:
        raise FdrdError(
            f"{path}: {error.json_path}: {error.message}; "
            f"another version may have written it, delete it to run again"
        )


def _build(kind: Any, value: Any) -> Any:
    """A value of a type from its JSON; the schema has been checked."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{name: _build(hints[name], part) for name, part in value.items()})
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        classes = [part for part in parts if dataclasses.is_dataclass(part)]
        return _build(classes[0], value) if classes and value is not None else value
    if origin is dict:
        return {key: _build(parts[1], part) for key, part in value.items()}
    if origin is list:
        return [_build(parts[0], part) for part in value]
    if origin is tuple:
        return tuple(value)
    return value
