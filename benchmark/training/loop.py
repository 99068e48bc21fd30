"""The one training loop: same batches, schedule and choice of the best epoch for every method."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.models import processes
from benchmark.models.chunks import chunks_of
from benchmark.models.image_batches import Images
from benchmark.registry import Epoch, FitLog
from benchmark.training.curves import point
from benchmark.training.resumable import EVERY, Kept, Snapshot, interrupt_waits
from fdrd.dataset import Indices, RetrievalDataset
from fdrd.errors import FdrdError
from fdrd.progress import Progress, silent


@dataclass(frozen=True)
class TrainConfig:
    """How a method is trained; `-T name=value` sets a field.

    Gradients of several batches are not summed before a step: a contrastive loss compares all pairs
    of a batch, so that would be the loss of the smaller batches. `chunk_size` is the exact way.

    Attributes:
        epochs: passes over the training rows.
        batch_size: rows of a step; the last, smaller batch is used too unless it is a single row.
        optimiser: sgd with momentum 0.9 and weight decay 5e-4 (CoOp's), or adamw as torch has it.
        learning_rate: at the first step.
        schedule: cosine falls to zero over all steps, constant stays.
        precision: of the towers in training; losses and evaluation are float32.
        patience: stop after so many epochs without a better one on validation; 0 is never. The
            schedule stays that of all epochs.
        chunk_size: rows that a tower encodes at a time, where the activations of a whole batch do
            not fit; 0 is all at once. The gradient stays that of the batch, for one more forward.
    """

    epochs: int = 10
    batch_size: int = 32
    optimiser: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.002
    schedule: Literal["cosine", "constant"] = "cosine"
    precision: Literal["float32", "bfloat16"] = "float32"
    patience: int = 0
    chunk_size: int = 0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 2), ("patience", 0), ("chunk_size", 0)):
            if getattr(self, name) < least:
                raise FdrdError(f"{name}={getattr(self, name)}: must be at least {least}")
        if not 0 < self.learning_rate < math.inf:
            raise FdrdError(f"learning_rate={self.learning_rate}: must be above 0")


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


@dataclass(eq=False)
class _Course:
    """Where a training is."""

    learner: nn.Module
    optimiser: torch.optim.Optimizer
    best: dict[str, Tensor]
    log: FitLog = field(default_factory=FitLog)
    losses: list[float] = field(default_factory=list)
    """of the steps of the running epoch"""
    seconds: float = 0.0
    """that the running epoch took so far"""

    def ended(self, config: TrainConfig) -> bool:
        done = len(self.log.epochs)
        return done == config.epochs or 0 < config.patience <= done - self.log.best_epoch

    def close_epoch(self, mrr: float, seconds: float) -> None:
        earlier = max((each.validation_mrr for each in self.log.epochs), default=-1.0)
        epochs = [*self.log.epochs, Epoch(float(np.mean(self.losses)), mrr, seconds)]
        best_epoch = self.log.best_epoch
        if mrr > earlier:
            best_epoch, self.best = len(epochs), copy.deepcopy(self.learner.state_dict())
        self.log, self.losses, self.seconds = FitLog(epochs, best_epoch), [], 0.0

    def snapshot(self) -> Snapshot:
        of_optimiser = {
            f"{number}/{name}": value
            for number, state in self.optimiser.state_dict()["state"].items()
            for name, value in state.items()
            if value is not None
        }
        groups = {"learner": self.learner.state_dict(), "best": self.best, "state": of_optimiser}
        return Snapshot(
            {f"{group}/{name}": each for group, of in groups.items() for name, each in of.items()},
            {"log": asdict(self.log), "losses": self.losses, "seconds": self.seconds},
        )

    def go_on_from(self, snapshot: Snapshot) -> None:
        groups: dict[str, dict[str, Tensor]] = {"learner": {}, "best": {}, "state": {}}
        for key, value in snapshot.tensors.items():
            group, _, name = key.partition("/")
            groups[group][name] = value
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in groups["state"].items():
            number, _, name = key.partition("/")
            state.setdefault(int(number), {})[name] = value
        self.learner.load_state_dict(groups["learner"])
        fresh = self.optimiser.state_dict()
        self.optimiser.load_state_dict({"state": state, "param_groups": fresh["param_groups"]})
        self.best = groups["best"]
        said = snapshot.said
        epochs = [Epoch(**each) for each in said["log"]["epochs"]]
        self.log = FitLog(epochs, said["log"]["best_epoch"])
        self.losses, self.seconds = said["losses"], said["seconds"]


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

    Inside of `benchmark.training.resumable.resumable` a killed training goes on where it was, and ends with
    the same numbers. For that, whatever changes from step to step lies in the learner's state_dict
    (buffers too), and whatever is drawn depends on the batch's epoch and rows, or is drawn from
    torch's generator, which every step seeds.

    Args:
        learner: whose parameters are learned.
        loss: of a batch.
        validate: mean MRR of both directions on the validation split.
        train: the rows.
        config: how.
        seed: decides the order of the rows, and what is drawn.
        device: where the towers run.
        progress: told about steps.

    Raises:
        FdrdError: there are too few rows, or the loss is not a number.
    """
    if len(train) < 2:
        raise FdrdError(f"{train.name}: one training row has nothing to be told apart from")
    parameters = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    whole, rest = divmod(len(train), config.batch_size)
    per_epoch = whole + (rest > 1)
    steps = config.epochs * per_epoch
    optimiser = _optimiser(parameters, config)
    course = _Course(learner, optimiser, copy.deepcopy(learner.state_dict()))
    kept = Kept(_identity(learner, train, config, seed))
    snapshot = kept.read()
    if snapshot is not None:
        course.go_on_from(snapshot)

    def tell() -> None:
        done = len(course.log.epochs) * per_epoch + len(course.losses)
        progress(f"train | {_so_far(course.log, course.losses, config)}", done, steps)

    def take_step(batch: Batch) -> float:
        step = batch.epoch * per_epoch + len(course.losses)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(config, step, steps)
        _seed(seed, step)
        low = config.precision == "bfloat16"
        with chunks_of(config.chunk_size), torch.autocast(device.type, torch.bfloat16, enabled=low):
            value = loss(batch)
        if not bool(value.isfinite()):
            kept.discard()
            raise FdrdError(
                f"the loss is {value.item()} at step {step + 1} of {steps}; lower the rate, "
                f"as in -T learning_rate={config.learning_rate / 10:g}"
            )
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        processes.average_gradients(parameters)
        optimiser.step()
        return value.item()

    with _own_randomness(device):
        while not course.ended(config):
            epoch, taken = len(course.log.epochs), len(course.losses)
            started = time.monotonic() - course.seconds
            learner.train()
            for batch in islice(batches(train, config.batch_size, seed, epoch), taken, None):
                with interrupt_waits() as interrupted:
                    course.losses.append(take_step(batch))
                    done = epoch * per_epoch + len(course.losses)
                    point("loss", done, course.losses[-1])
                    point("learning_rate", done, optimiser.param_groups[0]["lr"])
                    course.seconds = time.monotonic() - started
                    tell()
                    if interrupted or kept.is_due(EVERY):
                        kept.write(course.snapshot())
                if interrupted:
                    raise KeyboardInterrupt
            if kept.is_due(0):
                kept.write(course.snapshot())
            progress(f"epoch {epoch + 1} of {config.epochs} | validating", 0, per_epoch)
            learner.eval()
            with torch.no_grad():
                mrr = processes.agreed(validate())
            course.close_epoch(mrr, time.monotonic() - started)
            point("validation_mrr", len(course.log.epochs) * per_epoch, mrr)
            progress(_account(course.log, config), per_epoch, per_epoch)
            if kept.is_due(0):
                kept.write(course.snapshot())
    learner.load_state_dict(course.best)
    learner.eval()
    return course.log


def _so_far(log: FitLog, losses: list[float], config: TrainConfig) -> str:
    """Where a training is.

    >>> _so_far(FitLog([Epoch(1.5, 0.25, 60.0)], 1), [1.0, 2.0], TrainConfig())
    'epoch 2 of 10, loss 1.500, validation MRR 0.250'
    """
    epoch = f"epoch {len(log.epochs) + 1} of {config.epochs}, loss {np.mean(losses[-20:]):.3f}"
    return epoch + (f", validation MRR {log.epochs[-1].validation_mrr:.3f}" if log.epochs else "")


def _account(log: FitLog, config: TrainConfig) -> str:
    """What the last epoch came to, and how long the rest will take at its pace.

    >>> _account(FitLog([Epoch(1.5, 0.25, 60.0)], 1), TrainConfig())
    'epoch 1 of 10 | loss 1.500, validation MRR 0.250, 60 s, 540 s left'
    """
    number, last = len(log.epochs), log.epochs[-1]
    left = last.seconds * (config.epochs - number)
    return (
        f"epoch {number} of {config.epochs} | loss {last.loss:.3f}, "
        f"validation MRR {last.validation_mrr:.3f}, {last.seconds:.0f} s, {left:.0f} s left"
    )


def _identity(learner: nn.Module, train: RetrievalDataset, config: TrainConfig, seed: int) -> str:
    """Digest of what decides a training here: where it starts, the rows, their order, and how."""
    said = [asdict(config), seed, train.fingerprint]
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for name, value in learner.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@contextmanager
def _own_randomness(device: torch.device) -> Iterator[None]:
    """Torch's generators are those of the training inside, and as they were afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def _seed(seed: int, step: int) -> None:
    """Seed what a loss may draw, such as dropout, so that it does not matter what was drawn before."""
    state: Any = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0]))


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
