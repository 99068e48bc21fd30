"""One description of a run, by names, and the resources that it uses."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from benchmark.settings import Gallery, Half, OptionValue, check_seed
from benchmark.train_context import Observer
from benchmark.training.row_selection import CategoryList, Data, training_domain
from fdrd.errors import FdrdError
from fdrd.progress import Progress, silent

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
        preset: `paper` trains as `benchmark.experiments.presets` says.
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
    label: str = ""

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.shots is not None and self.shots < 1:
            raise FdrdError(f"`shots` {self.shots}: must be at least 1")

    def identity(self) -> str:
        """Return the digest of the names that determine the numbers, without the seed; a result records it."""
        source = training_domain(self.domain, self.train_domain)
        other = self.train_domain if source != self.domain else None
        return _digest(self.changed(label="", train_domain=other, seed=0))

    def training(self) -> str:
        """Return a digest of what determines the training, the same for runs that share one, or that share a search."""
        seed = 0 if self.search else self.seed
        return _digest(
            self.changed(split="", gallery="domain", hard_negatives=True, half="base", seed=seed)
        )[:16]

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
        named = {
            "shots": self.shots,
            "gallery": self.gallery if self.gallery != "domain" else None,
            "domain": self.domain,
            "train_domain": self.train_domain,
            "categories": self.categories and self.categories.name,
            "hard_negatives": None if self.hard_negatives else False,
            "preset": self.preset,
        }
        words = [f"{name}={value}" for name, value in named.items() if value is not None]
        return ", ".join([self.split, *words])

    @property
    def name(self) -> str:
        """The run on one line."""
        half = f"{self.half} categories" if self.categories else ""
        parts = [self.data, self.backbone or "", self.measurement, f"seed {self.seed}", half]
        return f"{self.row}: {', '.join(filter(None, parts))}"


def _digest(run: Run) -> str:
    return hashlib.sha256(msgspec.json.encode(run, order="deterministic")).hexdigest()


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

    @property
    def name(self) -> str:
        """Name of the dataset."""
        if isinstance(self.data, Mapping):
            return next((split.title for split in self.data.values()), "")
        return os.fspath(self.data)
