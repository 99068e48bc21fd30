"""Settings of one run: what is trained and measured, and how. Result files and checkpoints hold them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypedDict

from msgspec import Meta

from fdrd.errors import FdrdError
from fdrd.options import MOST_CHARACTERS, MOST_SEED, options_of, read_options

SCHEMA_VERSION: Literal[4] = 4
"""Version of result files. Raise it when the format changes, or when metrics or defaults change numbers."""

Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, Meta(max_length=MOST_CHARACTERS)]
OptionValue = Text | bool | int | float

Seed = Annotated[int, Meta(ge=0, le=MOST_SEED)]


def check_seed(seed: int) -> None:
    """Raise `FdrdError` for a seed that generators of random numbers do not take."""
    if not 0 <= seed <= MOST_SEED:
        raise FdrdError(f"seed {seed}: must be between 0 and {MOST_SEED}")


LossDirection = Literal["symmetric", "image_to_text", "text_to_image"]

PairLoss = Literal["symmetric", "image_to_text", "text_to_image", "sigmoid"]
"""A direction of InfoNCE, or SigLIP's loss."""

Half = Literal["base", "new"]
HALVES: tuple[Half, Half] = ("base", "new")
Gallery = Literal["domain", "joint"] | Annotated[int, Meta(ge=2)]
"""One gallery per domain, one for all domains, or galleries of this many images of one domain."""


def check_gallery(gallery: Gallery, images: int) -> None:
    """Raise `FdrdError` if galleries of this size cannot be drawn from a domain with this many images."""
    if isinstance(gallery, int) and not 1 < gallery <= images:
        remedy = f"give `gallery` a number between 2 and {images}, or leave it out"
        raise FdrdError(f"a gallery of {gallery} images cannot be drawn from {images}; {remedy}")


@dataclass(frozen=True)
class TrainConfig:
    """Training options; `-T name=value` sets a field.

    There is no gradient accumulation over batches: a contrastive loss compares all pairs of a batch,
    so accumulating would give the loss of smaller batches. Use `chunk_size` instead.

    Attributes:
        epochs: passes over the training rows; 0 if `steps` is given.
        steps: optimizer steps, instead of epochs.
        eval_every: steps between evaluations on validation; 0 evaluates after each epoch, or ten times in
            all if there are more, and with `steps` ten times.
        batch_size: rows per step. The last, smaller batch is used unless it is a single row.
        per_category: rows of one category that follow each other in the order of an epoch, so that a batch
            contrasts images of the same category; 0 shuffles all rows.
        optimizer: sgd with momentum 0.9 and weight decay 5e-4 (as in CoOp), or adamw with torch defaults.
        learning_rate: at the first step.
        schedule: cosine decays to zero over all steps; constant does not decay.
        warmup: first steps, in which the rate rises linearly to that of the schedule.
        precision: of the towers in training; similarities, losses and evaluation use float32.
        scale: factor of the similarities in the loss: backbone (its own), learned, or a number. Learned
            starts at the backbone's and stays below 100; the sigmoid loss then learns its bias, too.
        mask_equal: a batch may hold an image or a caption twice; such pairs are not contrasted.
        patience: stop after this many evaluations without improvement; 0 never stops early. The schedule
            still covers all steps.
        keep_untrained: evaluate before the first step, too, and keep that state if no later one is better.
        chunk_size: rows that a tower encodes at a time, for batches whose activations do not fit in
            memory; 0 encodes all at once. The gradient is that of the whole batch, at the cost of one
            more forward pass.
    """

    epochs: int = 10
    steps: int = 0
    eval_every: int = 0
    batch_size: int = 32
    per_category: int = 0
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.002
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    scale: str = "backbone"
    mask_equal: bool = True
    patience: int = 0
    keep_untrained: bool = True
    chunk_size: int = 0

    def __post_init__(self) -> None:
        if self.steps > 0:
            object.__setattr__(self, "epochs", 0)
        least = {"epochs": int(not self.steps), "batch_size": 2}
        for name in "epochs steps eval_every batch_size warmup patience chunk_size".split():
            if (value := getattr(self, name)) < least.get(name, 0):
                raise FdrdError(f"{name}={value}: must be at least {least.get(name, 0)}")
        if not 0 < self.learning_rate < math.inf:
            raise FdrdError(f"learning_rate={self.learning_rate}: must be above 0")
        object.__setattr__(self, "scale", _scale(self.scale))

    def changed(self, values: Mapping[str, Any]) -> TrainConfig:
        """Return these options with the given ones, as values or as text.

        Raises:
            FdrdError: an option is unknown or wrong, or both epochs and steps are given.
        """
        changes = training_options(values)
        if {"epochs", "steps"} <= changes.keys():
            raise FdrdError("epochs and steps: both set the length of a training; give one")
        return dataclasses.replace(self, **({"steps": 0} if "epochs" in changes else {}) | changes)


class TrainOptions(TypedDict, total=False):
    """Fields of `TrainConfig` as keywords, and their other names."""

    epochs: int
    steps: int
    eval_every: int
    batch_size: int
    per_category: int
    optimizer: Literal["sgd", "adamw"]
    learning_rate: float
    lr: float
    schedule: Literal["cosine", "constant"]
    warmup: int
    precision: Literal["float32", "bfloat16"]
    scale: str | float
    mask_equal: bool
    patience: int
    keep_untrained: bool
    chunk_size: int


def training_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return training options by the names and in the types of `TrainConfig`.

    Raises:
        FdrdError: an option is unknown, wrong or given twice.

    >>> training_options({"lr": "0.1", "scale": 8})
    {'learning_rate': 0.1, 'scale': '8'}
    """
    if "scale" in values:
        values = {**values, "scale": str(values["scale"])}
    return read_options(options_of(TrainConfig), values, "training")


def _scale(value: object) -> str:
    """Return a scale as one spelling.

    >>> _scale("8.0"), _scale(8), _scale("learned")
    ('8', '8', 'learned')
    """
    if value in ("backbone", "learned"):
        return str(value)
    try:
        factor = float(str(value))
    except ValueError:
        factor = 0.0
    if not 0 < factor < math.inf:
        raise FdrdError(f"scale={value}: give backbone, learned or a number above 0")
    return f"{factor:g}"


@dataclass(frozen=True)
class Named:
    """A name and the digest of the content: of a dataset split, a backbone or a list of categories."""

    name: Text
    fingerprint: Digest


NO_BACKBONE = Named("none", "0" * 64)
"""Stands for the backbone of a method that takes none."""


@dataclass(frozen=True)
class Settings:
    """Everything that determines the numbers of a run, with defaults filled in."""

    method: Text
    code: Digest
    """digest of the source code of the method"""
    options: dict[str, OptionValue]
    """all options of the method, defaults included"""
    options_given: dict[str, OptionValue]
    train: TrainConfig | None
    """None if nothing is trained"""
    train_given: dict[str, OptionValue]
    seed: Seed | None
    """None if the seed has no effect"""
    split: Literal["train", "validation", "test"]
    domain: Text | None
    train_domain: Text | None
    """domain to train on if it is not `domain`: another one, or `all`"""
    categories: Named | None
    """the base categories, the only ones to train on"""
    half: Half | None
    """which categories are measured: the listed ones (`base`) or all others (`new`)"""
    shots: Annotated[int, Meta(ge=1)] | None
    gallery: Gallery
    data: Named
    backbone: Named
    learned_from: dict[str, Digest]
    """fingerprints of the training and validation rows"""
    checkpoint: Digest | None
    """digest of the checkpoint that was used instead of training"""
    text_only_from: Digest | None
    """fingerprint of the training rows of the text-only baseline; None if there is no baseline"""
    remarks: dict[Text, Text] = field(default_factory=dict)
    """caveats printed with the numbers: a tag for the method's name, and the sentence it stands for"""
    hard_negatives: bool = True
    """whether hard-negative accuracy is measured"""
    label: Text = ""
    """name of the row in tables, if an experiment file gave one"""
    asked: list[Digest] = field(default_factory=list)
    """identities of the runs, by names, that this result answers"""

    def determining(self) -> dict[str, Any]:
        """Return all that determines the numbers; names, labels and remarks do not count."""
        fields = dataclasses.asdict(self)
        for name in ("options_given", "train_given", "remarks", "label", "asked"):
            del fields[name]
        for name in ("data", "backbone", "categories"):
            fields[name] = fields[name] and fields[name]["fingerprint"]
        fields["schema_version"] = SCHEMA_VERSION
        return fields

    def training(self) -> dict[str, Any]:
        """Return all that determines what is learned."""
        fields = self.determining()
        names = ("method", "code", "options", "train", "seed", "backbone", "learned_from")
        return {name: fields[name] for name in names}

    def identity(self) -> str:
        """Return the digest of all that determines the numbers."""
        text = json.dumps(self.determining(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def different(self, other: Settings) -> list[str]:
        """Return the names of the settings that give other numbers than those of `other`."""
        mine, theirs = self.determining(), other.determining()
        return [name for name in mine | theirs if mine.get(name) != theirs.get(name)]

    def file_name(self) -> str:
        """Return the name of the result file, the same for equal settings."""
        return f"{self.method}-{self.split}-{self.identity()[:16]}.json"
