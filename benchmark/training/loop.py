"""The training loop that all methods share: batches, schedule, selection of the best epoch."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from benchmark.models import processes
from benchmark.models.chunks import chunks_of
from benchmark.models.image_batches import Images
from benchmark.result import Epoch, FitLog
from benchmark.settings import TrainConfig
from benchmark.training.curves import point
from benchmark.training.resumable import EVERY, ResumableState, Snapshot, delay_interrupt
from fdrd.dataset import Indices, RetrievalDataset
from fdrd.errors import FdrdError
from fdrd.progress import Progress, silent


@dataclass(frozen=True, eq=False)
class Batch:
    """The rows of one step.

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
    """Yield the rows in an order that depends on seed and epoch alone."""
    order = np.random.default_rng([seed, epoch]).permutation(len(dataset))
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        if len(rows) > 1:  # a single pair has nothing to be contrasted with
            image, caption = dataset.pairs[rows].T
            captions = [dataset.captions[number] for number in caption]
            yield Batch(epoch, rows, Images(dataset, image), captions)


class _Training:
    """A training in progress; the arguments are those of `fit`."""

    def __init__(
        self,
        learner: nn.Module,
        loss: Callable[[Batch], Tensor],
        train: RetrievalDataset,
        config: TrainConfig,
        seed: int,
        device: torch.device,
        progress: Progress,
    ):
        self.learner, self.loss, self.train, self.config = learner, loss, train, config
        self.seed, self.device, self.progress = seed, device, progress
        self.parameters = [each for each in learner.parameters() if each.requires_grad]
        self.optimizer = _optimizer(self.parameters, config)
        full, rest = divmod(len(train), config.batch_size)
        self.steps_per_epoch = full + (rest > 1)
        self.steps = config.epochs * self.steps_per_epoch
        self.best = copy.deepcopy(learner.state_dict())
        self.log = FitLog()
        self.losses: list[float] = []  # of the current epoch
        self.seconds = 0.0  # spent on the current epoch
        self.saved = ResumableState(_identity(learner, train, config, seed))
        snapshot = self.saved.read()
        if snapshot is not None:
            self._restore(snapshot)

    def is_done(self) -> bool:
        done = len(self.log.epochs)
        return done == self.config.epochs or 0 < self.config.patience <= done - self.log.best_epoch

    def run_epoch(self, validate: Callable[[], float]) -> None:
        """Run the rest of the current epoch, validate, and keep the learner if it is the best so far."""
        epoch = len(self.log.epochs)
        started = time.monotonic() - self.seconds
        self.learner.train()
        epoch_batches = batches(self.train, self.config.batch_size, self.seed, epoch)
        for batch in islice(epoch_batches, len(self.losses), None):
            with delay_interrupt() as interrupted:
                self.losses.append(self._step(batch))
                done = epoch * self.steps_per_epoch + len(self.losses)
                point("loss", done, self.losses[-1])
                point("learning_rate", done, self.optimizer.param_groups[0]["lr"])
                self.seconds = time.monotonic() - started
                status = _status(self.log, self.losses, self.config)
                self.progress(f"train | {status}", done, self.steps)
                self._save(EVERY, at_once=bool(interrupted))
            if interrupted:
                raise KeyboardInterrupt
        self._save()
        name = f"epoch {epoch + 1} of {self.config.epochs}"
        self.progress(f"{name} | validating", 0, self.steps_per_epoch)
        self.learner.eval()
        with torch.no_grad():
            mrr = processes.agreed(validate())
        self._end_epoch(mrr, time.monotonic() - started)
        point("validation_mrr", len(self.log.epochs) * self.steps_per_epoch, mrr)
        summary = _epoch_summary(self.log, self.config)
        self.progress(summary, self.steps_per_epoch, self.steps_per_epoch)
        self._save()

    def _step(self, batch: Batch) -> float:
        step = batch.epoch * self.steps_per_epoch + len(self.losses)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, step, self.steps)
        _seed(self.seed, step)
        low = self.config.precision == "bfloat16"
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=low)
        with chunks_of(self.config.chunk_size), autocast:
            value = self.loss(batch)
        if not bool(value.isfinite()):
            self.saved.discard()
            raise FdrdError(
                f"the loss is {value.item()} at step {step + 1} of {self.steps}; lower the learning "
                f"rate, e.g. -T learning_rate={self.config.learning_rate / 10:g}"
            )
        self.optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        processes.average_gradients(self.parameters)
        self.optimizer.step()
        return value.item()

    def _end_epoch(self, mrr: float, seconds: float) -> None:
        earlier = max((each.validation_mrr for each in self.log.epochs), default=-1.0)
        epochs = [*self.log.epochs, Epoch(float(np.mean(self.losses)), mrr, seconds)]
        best_epoch = self.log.best_epoch
        if mrr > earlier:
            best_epoch, self.best = len(epochs), copy.deepcopy(self.learner.state_dict())
        self.log, self.losses, self.seconds = FitLog(epochs, best_epoch), [], 0.0

    def _save(self, after: float = 0.0, *, at_once: bool = False) -> None:
        if at_once or self.saved.is_due(after):
            self.saved.write(self._snapshot())

    def _snapshot(self) -> Snapshot:
        of_optimizer = {
            f"{number}/{name}": value
            for number, state in self.optimizer.state_dict()["state"].items()
            for name, value in state.items()
            if value is not None
        }
        groups = {"learner": self.learner.state_dict(), "best": self.best, "state": of_optimizer}
        return Snapshot(
            {f"{group}/{name}": each for group, of in groups.items() for name, each in of.items()},
            {"log": asdict(self.log), "losses": self.losses, "seconds": self.seconds},
        )

    def _restore(self, snapshot: Snapshot) -> None:
        groups: dict[str, dict[str, Tensor]] = {"learner": {}, "best": {}, "state": {}}
        for key, value in snapshot.tensors.items():
            group, _, name = key.partition("/")
            groups[group][name] = value
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in groups["state"].items():
            number, _, name = key.partition("/")
            state.setdefault(int(number), {})[name] = value
        self.learner.load_state_dict(groups["learner"])
        fresh = self.optimizer.state_dict()
        self.optimizer.load_state_dict({"state": state, "param_groups": fresh["param_groups"]})
        self.best = groups["best"]
        self.log = msgspec.convert(snapshot.metadata["log"], FitLog)
        self.losses, self.seconds = snapshot.metadata["losses"], snapshot.metadata["seconds"]


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
    """Train `learner` and restore its best epoch.

    Inside `benchmark.training.resumable.resumable`, an interrupted training resumes and ends with the same
    numbers. This requires that everything that changes from step to step is in the learner's state_dict
    (including buffers), and that random draws depend on the batch's epoch and rows, or come from torch's
    generator, which every step seeds.

    Args:
        learner: module whose parameters are trained.
        loss: of a batch.
        validate: mean MRR of both directions on the validation split.
        train: the rows.
        config: training options.
        seed: of the order of rows and of random draws.
        device: of the towers.
        progress: receives steps.

    Raises:
        FdrdError: there are fewer than 2 rows, or the loss is not finite.
    """
    if len(train) < 2:
        raise FdrdError(
            f"{train.name}: contrastive training needs at least 2 pairs, got {len(train)}"
        )
    training = _Training(learner, loss, train, config, seed, device, progress)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        while not training.is_done():
            training.run_epoch(validate)
    learner.load_state_dict(training.best)
    learner.eval()
    return training.log


def _status(log: FitLog, losses: list[float], config: TrainConfig) -> str:
    """Return the status of a training.

    >>> _status(FitLog([Epoch(1.5, 0.25, 60.0)], 1), [1.0, 2.0], TrainConfig())
    'epoch 2 of 10, loss 1.500, validation MRR 0.250'
    """
    epoch = f"epoch {len(log.epochs) + 1} of {config.epochs}, loss {np.mean(losses[-20:]):.3f}"
    return epoch + (f", validation MRR {log.epochs[-1].validation_mrr:.3f}" if log.epochs else "")


def _epoch_summary(log: FitLog, config: TrainConfig) -> str:
    """Return the numbers of the last epoch and the estimated remaining time.

    >>> _epoch_summary(FitLog([Epoch(1.5, 0.25, 60.0)], 1), TrainConfig())
    'epoch 1 of 10 | loss 1.500, validation MRR 0.250, 60 s, 540 s left'
    """
    number, last = len(log.epochs), log.epochs[-1]
    left = last.seconds * (config.epochs - number)
    return (
        f"epoch {number} of {config.epochs} | loss {last.loss:.3f}, "
        f"validation MRR {last.validation_mrr:.3f}, {last.seconds:.0f} s, {left:.0f} s left"
    )


def _identity(learner: nn.Module, train: RetrievalDataset, config: TrainConfig, seed: int) -> str:
    """Return the digest of everything that determines a training: initial values, rows, order, options."""
    said = [asdict(config), seed, train.fingerprint]
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for name, value in learner.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _seed(seed: int, step: int) -> None:
    """Seed the draws of a step, e.g. dropout, independently of earlier steps."""
    value: Any = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)
    torch.manual_seed(int(value[0]))


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """Return the learning rate at a step, counted from 0.

    >>> [learning_rate(TrainConfig(learning_rate=1.0), step, 4) for step in (0, 2)]
    [1.0, 0.5]
    """
    if config.schedule == "constant":
        return config.learning_rate
    return config.learning_rate * (1 + math.cos(math.pi * step / steps)) / 2


def _optimizer(parameters: list[nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    if config.optimiser == "adamw":
        return torch.optim.AdamW(parameters, lr=config.learning_rate)
    return torch.optim.SGD(parameters, lr=config.learning_rate, momentum=0.9, weight_decay=5e-4)
