"""One description of a run, by names, and the resources that it uses.

`check_runs` finds mistakes in descriptions in a second, without torch: before anything is loaded or trained.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct

from benchmark.models.loading import check_backbone_name, check_device
from benchmark.registry import Observer, check_options, takes
from benchmark.settings import (
    Gallery,
    Half,
    OptionValue,
    Text,
    TrainConfig,
    check_gallery,
    check_seed,
)
from benchmark.training.row_selection import CategoryList, Data, split_of, training_domain
from fdrd.dataset import MissingSplitError, load_rows
from fdrd.errors import FdrdError
from fdrd.kinds import refuse_other
from fdrd.progress import Progress, silent
from fdrd.record import SPLITS
from fdrd.storage.manifest import read_manifest
from fdrd.storage.registration import registered_folder

if TYPE_CHECKING:
    from benchmark.models.backbone import Backbone


Preset = Literal["paper"]


class Range(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Numbers from `low` to `high`, both included: integers if both ends are; `log` draws on a logarithmic scale."""

    low: int | float
    high: int | float
    log: bool = False

    def __post_init__(self) -> None:
        if self.low > self.high or (self.log and self.low <= 0):
            raise ValueError("low must not be above high, and with log it must be above 0")


Space = dict[str, Annotated[list[OptionValue], Meta(min_length=1)] | Range]


class Search(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Values to choose from on the validation split, by option of the method and of the training."""

    options: Space = {}
    train: Space = {}


class Run(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is trained and measured, by names, before anything is loaded.

    `benchmark.settings.Settings` describes the same run by contents, once everything is loaded. Attributes that are
    not listed are arguments of `benchmark.evaluate`.

    Attributes:
        method: registered name.
        data: name of the dataset.
        options: options of the method, as values or as text.
        train: fields of `TrainConfig`, as values or as text; ignored if nothing is trained.
        half: with `categories`, whether to measure those (`base`) or all others (`new`).
        seed: seed of the training and of the few-shot draw. Methods without randomness give one result for all seeds.
        preset: `paper` trains as the docstring of `benchmark.experiments.plan` says.
        search: values to choose options from, on validation.
        label: name of the row in tables; by default the method with its options.
    """

    method: str
    data: str = ""
    backbone: str | None = None
    options: dict[str, OptionValue] = {}
    train: dict[str, OptionValue] = {}
    split: str = "test"
    domain: str | None = None
    train_domain: str | None = None
    categories: CategoryList | None = None
    half: Half = "base"
    shots: int | None = None
    seed: int = 0
    gallery: Gallery = "domain"
    hard_negatives: bool = True
    checkpoint: str | None = None
    preset: Preset | None = None
    search: Search | None = None
    label: Text = ""

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.shots is not None and self.shots < 1:
            raise FdrdError(f"`shots` {self.shots}: must be at least 1")

    def identity(self) -> str:
        """Return the digest of the names that determine the numbers, without the seed; a result records it."""
        source = training_domain(self.domain, self.train_domain)
        other = self.train_domain if source != self.domain else None
        return self.changed(label="", train_domain=other, seed=0)._digest()

    def training(self) -> str:
        """Return a digest of what determines the training, the same for runs that share one, or that share a search."""
        same_training = {"split": "", "gallery": "domain", "hard_negatives": True, "half": "base"}
        return self.changed(**same_training, seed=0 if self.search else self.seed)._digest()[:16]

    def changed(self, **fields: Any) -> Run:
        """Return the run with other values of some fields."""
        return msgspec.structs.replace(self, **fields)

    @property
    def row(self) -> str:
        """The label, else the method with its options."""
        words = ", ".join(f"{name}={value}" for name, value in sorted(self.options.items()))
        return self.label or self.method + (f" ({words})" if words else "")

    @property
    def measurement(self) -> str:
        """What is measured, and what differs from the defaults, on one line."""
        default, words = Run(method=""), [self.split]
        for name in "shots gallery domain train_domain categories hard_negatives preset".split():
            if (value := getattr(self, name)) != getattr(default, name):
                words.append(f"{name}={value.name if name == 'categories' else value}")
        return ", ".join(words)

    @property
    def name(self) -> str:
        """The run on one line."""
        half = f"{self.half} categories" if self.categories else ""
        parts = [self.data, self.backbone or "", self.measurement, f"seed {self.seed}", half]
        return f"{self.row}: {', '.join(filter(None, parts))}"

    def _digest(self) -> str:
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


@dataclass(frozen=True)
class Resources:
    """What a run reads and writes; the attributes are arguments of `benchmark.evaluate`."""

    data: Data
    backbone: str | Backbone | None = None
    results: Path | None = None
    log: str | Path | None = None
    cache: Path | None = None
    device: str | None = None
    allow_code: bool = False
    progress: Progress = silent
    observers: tuple[Observer, ...] = ()


def check_runs(
    runs: Iterable[Run],
    *,
    data: Mapping[str, Data] | None = None,
    device: str | None = None,
    results: str | Path | None = None,
) -> None:
    """Refuse runs that would fail later, as far as names, options and rows say so."""
    check_device(device)
    runs = list(runs)
    for method, options in _distinct((run.method, run.options) for run in runs):
        check_options(method, options)
    for (train,) in _distinct((run.train,) for run in runs):
        TrainConfig().changed(train)
    for backbone in {run.backbone for run in runs if run.backbone is not None}:
        if any(takes(run.method, "backbone") for run in runs if run.backbone == backbone):
            check_backbone_name(backbone)
    ignored = {"options": {}, "train": {}, "seed": 0, "label": "", "search": None}
    for run in _distinct(run.changed(**ignored) for run in runs):
        _check_rows(run, (data or {}).get(run.data, run.data))
    if results is not None:
        check_writable(Path(results))


def _distinct(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _check_rows(run: Run, data: Data) -> None:
    parts = [(run.split, run.domain)]
    # A preset says itself which domains cannot be trained on.
    if run.checkpoint is None and run.preset is None and takes(run.method, "train"):
        source = training_domain(run.domain, run.train_domain)
        parts += [("train", source), ("validation", source)]
    if isinstance(data, Mapping):
        images = [np.bincount(split_of(data, *part).image_domain).min() for part in parts]
    else:
        images = [_smallest(os.fspath(data), *part) for part in parts]
    if images[0] is not None:
        check_gallery(run.gallery, int(images[0]))


def _smallest(name: str, split: str, domain: str | None) -> int | None:
    """Return the images of the smallest domain in a split, from the manifest; None for a dataset of the Hub."""
    folder = Path(name) if Path(name).exists() else registered_folder(name)
    if folder is None and "/" not in name:  # a name of the Hub has one
        raise FdrdError(
            f"no dataset {name!r}: not a folder, and not built on this machine; build it with `fdrd build`, name "
            "another, or give ORG/NAME of the Hub"
        )
    if folder is None:
        load_rows(name, split, domain)
        return None
    refuse_other(folder, "a dataset", "dataset")
    if split not in SPLITS:
        raise FdrdError(f"unknown split {split!r}; choose from {', '.join(SPLITS)}")
    domains = read_manifest(folder).splits
    chosen = [counts for each, counts in domains.items() if domain in (None, each)]
    images = [counts[split].images for counts in chosen if split in counts]
    if not images:
        missing = " of ".join(part for part in (split, domain) if part)
        remedy = f"its domains are {', '.join(domains)}"
        if others := [each for each in SPLITS if any(each in counts for counts in chosen)]:
            remedy = f"choose {' or '.join(others)} with `split`"
        raise MissingSplitError(f"{name} has no {missing}; {remedy}")
    return min(images)


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written; it is not created."""
    existing = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not existing.is_dir():
        raise FdrdError(f"{existing} is not a folder; give `results` a folder")
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise FdrdError(
            f"{folder} cannot be written ({error.strerror}); give `results` another folder"
        ) from None
