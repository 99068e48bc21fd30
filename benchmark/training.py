"""The one training loop: same batches, schedule and choice of the best epoch for every method."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.images import Images
from fdrd.dataset import Indices, RetrievalDataset
from fdrd.error import FdrdError
from fdrd.progress import Progress, silent


@dataclass(frozen=True)
class TrainConfig:
    """How a method is trained; `-T name=value` sets a field.

    Attributes:
        epochs: passes over the training rows.
        batch_size: rows of a step; the last, smaller batch is used too unless it is a single row.
        optimiser: sgd with momentum 0.9 and weight decay 5e-4 (CoOp's), or adamw as torch has it.
        learning_rate: at the first step.
        schedule: cosine falls to zero over all steps, constant stays.
        precision: of the towers in training; losses and evaluation are float32.
    """

    epochs: int = 10
    batch_size: int = 32
    optimiser: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.002
    schedule: Literal["cosine", "constant"] = "cosine"
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 2)):
            if getattr(self, name) < least:
                raise FdrdError(f"{name}={getattr(self, name)}: must be at least {least}")
        if not 0 < self.learning_rate < math.inf:
            raise FdrdError(f"learning_rate={self.learning_rate}: must be above 0")


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to."""

    loss: float
    validation_mrr: float
    seconds: float


@dataclass(frozen=True)
class FitLog:
    """The course of a training; `best_epoch` (counted from 1) is the one that was kept."""

    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of one step.

    Attributes:
        epoch: counted from 0.
        rows: (B,) row numbers of the training split.
        images: the image of each row.
        captions: the caption of each row.
    """

    epoch: int
    rows: Indices
    images: Images
    captions: list[str]


def batches(dataset: RetrievalDataset, size: int, seed: int, epoch: int) -> Iterator[Batch]:
    """The rows in an order that depends on seed and epoch alone."""
    order = np.random.default_rng([seed, epoch]).permutation(len(dataset))
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        if len(rows) > 1:  # one pair has nothing to be told apart from
            image, caption = dataset.pairs[rows].T
            captions = [dataset.captions[number] for number in caption]
            yield Batch(epoch, rows, Images(dataset, image), captions)


def fit(
    learner: nn.Module,
    loss: Callable[[Batch], Tensor],
    validate: Callable[[], float],
    train: RetrievalDataset,
    config: TrainConfig,
    seed: int,
    *,
    device: torch.device,
    progress: Progress = silent,
) -> FitLog:
    """Train `learner` and leave it as it was after its best epoch.

    Args:
        learner: whose parameters are learned.
        loss: of a batch.
        validate: mean MRR of both directions on the validation split.
        train: the rows.
        config: how.
        seed: decides the order of the rows.
        device: where the towers run.
        progress: told about steps.

    Raises:
        FdrdError: there are too few rows, or the loss is not a number.
    """
    if len(train) < 2:
        raise FdrdError(f"{train.name}: one training row has nothing to be told apart from")
    parameters = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    optimiser = _optimiser(parameters, config)
    whole, rest = divmod(len(train), config.batch_size)
    steps = config.epochs * (whole + (rest > 1))
    log: list[Epoch] = []
    best_epoch, best = 0, copy.deepcopy(learner.state_dict())
    step = 0
    for epoch in range(config.epochs):
        started = time.monotonic()
        losses: list[float] = []
        learner.train()
        for batch in batches(train, config.batch_size, seed, epoch):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(config, step, steps)
            with torch.autocast(
                device.type, torch.bfloat16, enabled=config.precision == "bfloat16"
            ):
                value = loss(batch)
            if not bool(value.isfinite()):
                raise FdrdError(
                    f"the loss is {value.item()} at step {step + 1} of {steps}; lower the rate, "
                    f"as in -T learning_rate={config.learning_rate / 10:g}"
                )
            optimiser.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            losses.append(value.item())
            step += 1
            progress(f"train, epoch {epoch + 1} of {config.epochs}", step, steps)
        learner.eval()
        with torch.no_grad():
            mrr = validate()
        log.append(Epoch(float(np.mean(losses)), mrr, time.monotonic() - started))
        if mrr > max((each.validation_mrr for each in log[:-1]), default=-1.0):
            best_epoch, best = epoch + 1, copy.deepcopy(learner.state_dict())
    learner.load_state_dict(best)
    return FitLog(log, best_epoch)


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """The rate at a step, counted from 0.

    >>> [learning_rate(TrainConfig(learning_rate=1.0), step, 4) for step in (0, 2)]
    [1.0, 0.5]
    """
    if config.schedule == "constant":
        return config.learning_rate
    return config.learning_rate * (1 + math.cos(math.pi * step / steps)) / 2


def _optimiser(parameters: list[nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    if config.optimiser == "adamw":
        return torch.optim.AdamW(parameters, lr=config.learning_rate)
    return torch.optim.SGD(parameters, lr=config.learning_rate, momentum=0.9, weight_decay=5e-4)
