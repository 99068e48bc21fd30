"""The training loop that all methods share: batches, schedule, selection of the best state."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import chain, count, islice
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from benchmark.models import processes
from benchmark.models.backbone import Encoder
from benchmark.models.image_batches import Images
from benchmark.models.tensor_files import add_tensors
from benchmark.registry import QUIET, TrainContext
from benchmark.result import Epoch, FitLog
from benchmark.settings import TrainConfig
from benchmark.training.losses import LogitScale
from benchmark.training.resumable import EVERY, ResumableState, delay_interrupt
from fdrd.dataset import Indices, RetrievalDataset
from fdrd.errors import FdrdError

EVALUATIONS = 10
"""Most of a training, so that long ones do not choose from more states than short ones."""

PAPER_SCALE = 100.0
"""Scale of the similarities in CLIP, to which the weights of penalties in papers belong."""

SAME_RATE: Mapping[str, float] = MappingProxyType({})
"""All parts of a learner have the learning rate of the configuration."""


@dataclass(frozen=True, eq=False)
class Batch:
    """The rows of one step.

    Attributes:
        epoch: pass over the rows, counted from 0.
        rows: (B,) row numbers of the training split.
        images: the image of each row.
        captions: the caption of each row.
        step: optimizer step, counted from 0.
        repeats: (B, B) other pairs of the batch that are right: the image is the same, or the caption. Losses
            leave them out. None if there are none, or if they count as wrong.
        scale: factor of the similarities in the loss; None is the encoder's own, as in `scale_of`.
        bias: added to the scaled similarities in a sigmoid loss; None is the encoder's own, as in `bias_of`.
    """

    epoch: int
    rows: Indices
    images: Images
    captions: list[str]
    step: int = 0
    repeats: Tensor | None = None
    scale: float | Tensor | None = None
    bias: float | Tensor | None = None

    def scale_of(self, encoder: Encoder) -> float | Tensor:
        """Return the factor of the similarities in the loss."""
        return encoder.logit_scale if self.scale is None else self.scale

    def penalty_share(self, encoder: Encoder) -> float:
        """Return the factor of penalties on features and weights: the gradient of InfoNCE grows with the scale."""
        return float(self.scale_of(encoder)) / PAPER_SCALE

    def bias_of(self, encoder: Encoder) -> float | Tensor:
        """Return what a sigmoid loss adds to the scaled similarities."""
        return encoder.logit_bias if self.bias is None else self.bias


def steps_per_epoch(rows: int, size: int) -> int:
    """Return the number of batches of an epoch: a single pair has nothing to be contrasted with.

    >>> steps_per_epoch(24, 10), steps_per_epoch(24, 23)
    (3, 1)
    """
    full, rest = divmod(rows, size)
    return full + (rest > 1)


def pairs_seen(rows: int, size: int, steps: int) -> int:
    """Return the number of pairs in the batches of the first steps.

    >>> pairs_seen(24, 10, 4), pairs_seen(24, 23, 2)
    (34, 46)
    """
    epochs, rest = divmod(steps, steps_per_epoch(rows, size))
    return epochs * (rows - (rows % size == 1)) + rest * size


def order_of_rows(category: Indices, seed: int, epoch: int, per_category: int = 0) -> Indices:
    """Return the N rows in an order that depends on seed and epoch alone.

    Args:
        category: (N,) category of each row.
        seed: seed of the order.
        epoch: pass over the rows, counted from 0.
        per_category: rows of one category that follow each other, where it has so many; 0 shuffles all rows.

    >>> category = np.array([0, 1, 0, 1, 0, 1])
    >>> category[order_of_rows(category, seed=0, epoch=0, per_category=3)].tolist()
    [1, 1, 1, 0, 0, 0]
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(category))
    if not per_category:
        return order
    groups: list[Indices] = []
    for name in np.unique(category):
        rows = order[category[order] == name]
        groups += np.split(rows, range(per_category, len(rows), per_category))
    return np.concatenate([groups[index] for index in random.permutation(len(groups))])


def batches(
    dataset: RetrievalDataset,
    size: int,
    seed: int,
    epoch: int,
    *,
    mask_equal: bool = True,
    per_category: int = 0,
) -> Iterator[Batch]:
    """Yield the rows in batches, see `order_of_rows`."""
    order = order_of_rows(dataset.row_category, seed, epoch, per_category)
    steps = steps_per_epoch(len(order), size)
    for index in range(steps):
        rows = order[index * size : (index + 1) * size]
        image, caption = dataset.pairs[rows].T
        captions = [dataset.captions[each] for each in caption]
        repeats = repeats_of(image, caption) if mask_equal else None
        yield Batch(epoch, rows, Images(dataset, image), captions, epoch * steps + index, repeats)


def repeats_of(image: Indices, caption: Indices) -> Tensor | None:
    """Return which other pairs share the image or the caption of a row; None if there are none.

    >>> repeats_of(np.array([4, 4, 5]), np.array([7, 8, 9])).int().tolist()
    [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    """
    if len(set(image.tolist())) == len(set(caption.tolist())) == len(image):
        return None
    same = (image[:, None] == image) | (caption[:, None] == caption)
    return torch.from_numpy(same & ~np.eye(len(same), dtype=bool))


class Training:
    """A training in progress, which is evaluated after each stretch of steps.

    If the context says where it is saved, an interrupted training resumes and ends with the same
    numbers. This requires that everything that changes from step to step is in the learner's state_dict
    (including buffers), and that random draws depend on the batch's epoch and rows, or come from torch's
    generator, which every step seeds.

    `validate` returns the mean MRR of both directions on the validation split. `scale` is that of the similarities in
    the loss, if the configuration decides it. Other arguments as in `benchmark.training.trained_method.learn`.

    Raises:
        FdrdError: there are fewer than 2 rows, or the loss is not finite.
    """

    def __init__(
        self,
        learner: nn.Module,
        loss: Callable[[Batch], Tensor],
        validate: Callable[[], float],
        train: RetrievalDataset,
        config: TrainConfig,
        seed: int,
        *,
        device: torch.device,
        context: TrainContext = QUIET,
        scale: LogitScale | None = None,
        earlier: FitLog | None = None,
        rates: Mapping[str, float] = SAME_RATE,
    ):
        if len(train) < 2:
            raise FdrdError(
                f"{train.name}: contrastive training needs at least 2 pairs, got {len(train)}"
            )
        self.learner, self.loss, self.validate, self.train = learner, loss, validate, train
        self.config, self.seed, self.device, self.earlier = config, seed, device, earlier
        self.progress, self.observers = context.progress, context.observers
        self.scale = scale or LogitScale(None, "backbone")
        groups = _groups(learner, self.scale, rates)
        self.parameters = [each for group in groups for each in group["params"]]
        self.optimizer = _optimizer(groups, config)
        self.steps_per_epoch = steps_per_epoch(len(train), config.batch_size)
        self.steps = config.steps or config.epochs * self.steps_per_epoch
        stretch = -(-config.epochs // EVALUATIONS) * self.steps_per_epoch  # whole epochs
        if config.steps:
            stretch = -(-config.steps // EVALUATIONS)
        self.stretch = config.eval_every or stretch
        self.best = copy.deepcopy(learner.state_dict())
        self.log = FitLog()
        self.losses: list[float] = []  # since the last evaluation
        self.seconds = 0.0  # spent on them
        self.saved = ResumableState(_identity(learner, train, config, seed), context.saved)
        if (found := self.saved.read()) is not None:
            self._restore(*found)

    def run(self) -> FitLog:
        """Train until the last step, or until patience ends; restore the best state of the learner."""
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            self._run()
        self.learner.load_state_dict(self.best)
        self.learner.eval()
        return self.log.after(self.earlier) if self.earlier else self.log

    def _run(self) -> None:
        if self.config.keep_untrained and self.log.untrained_mrr is None:
            self.progress("untrained | validating", 0, 1)
            self.log = FitLog(untrained_mrr=self._validated())
            self.progress(f"untrained | validation MRR {self.log.untrained_mrr:.3f}", 1, 1)
            self._point("validation_mrr", 0, self.log.best_mrr)
        patience = self.config.patience or math.inf
        while self.log.steps < self.steps and len(self.log.epochs) - self.log.best_epoch < patience:
            self._run_stretch()

    def _run_stretch(self) -> None:
        """Run to the next evaluation, validate, and keep the learner if it is the best so far."""
        started = time.monotonic() - self.seconds
        self.learner.train()
        end = min(self.log.steps + self.stretch, self.steps)
        for batch in self._batches(self.log.steps + len(self.losses), end):
            with delay_interrupt() as interrupted:
                self.losses.append(self._step(batch))
                done = batch.step + 1
                self._point("loss", done, self.losses[-1])
                self._point("learning_rate", done, self.optimizer.param_groups[0]["lr"])
                self.seconds = time.monotonic() - started
                self.progress(f"train | {self._status()}", done, self.steps)
                self._save(EVERY, at_once=bool(interrupted))
            if interrupted:
                raise KeyboardInterrupt
        self._save()
        self.progress(f"{self._stretch_name(1)} | validating", 0, 1)
        mrr = self._validated()
        pairs = pairs_seen(len(self.train), self.config.batch_size, end)
        last = Epoch(float(np.mean(self.losses)), mrr, time.monotonic() - started, end, pairs)
        epochs, best_epoch = [*self.log.epochs, last], self.log.best_epoch
        if mrr > self.log.best_mrr:
            best_epoch, self.best = len(epochs), copy.deepcopy(self.learner.state_dict())
        self.log = replace(self.log, epochs=epochs, best_epoch=best_epoch)
        self.losses, self.seconds = [], 0.0
        self._point("validation_mrr", end, mrr)
        left = last.seconds * (self.steps - end) / self.stretch
        self.progress(
            f"{self._stretch_name(0)} | loss {last.loss:.3f}, validation MRR {mrr:.3f}, "
            f"{last.seconds:.0f} s, {left:.0f} s left",
            1,
            1,
        )
        self._save()

    def _batches(self, start: int, end: int) -> Iterator[Batch]:
        """Yield the batches of these steps."""
        config, rows, seed = self.config, self.train, self.seed
        options: dict[str, Any] = {
            "mask_equal": config.mask_equal,
            "per_category": config.per_category,
        }
        epoch, skipped = divmod(start, self.steps_per_epoch)
        epochs = (batches(rows, config.batch_size, seed, each, **options) for each in count(epoch))
        return islice(chain.from_iterable(epochs), skipped, skipped + end - start)

    def _step(self, batch: Batch) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = group["factor"] * learning_rate(self.config, batch.step, self.steps)
        draws: Any = np.random.SeedSequence([self.seed, batch.step]).generate_state(1, np.uint64)
        torch.manual_seed(int(draws[0]))  # e.g. for dropout, independently of earlier steps
        with processes.step_numerics(self.config.precision, self.config.chunk_size):
            scale, bias = self.scale.values()
            value = self.loss(replace(batch, scale=scale, bias=bias))
        if not bool(value.isfinite()):
            self.saved.discard()
            raise FdrdError(
                f"the loss is {value.item()} at step {batch.step + 1} of {self.steps}; lower the learning "
                f"rate, e.g. -T learning_rate={self.config.learning_rate / 10:g}"
            )
        self.optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        processes.average_gradients(self.parameters)
        self.optimizer.step()
        self.scale.clamp()
        return value.item()

    def _point(self, curve: str, step: int, value: float) -> None:
        for observer in self.observers:
            observer(curve, step + (self.earlier.steps if self.earlier else 0), value)

    def _validated(self) -> float:
        self.learner.eval()
        with torch.no_grad():
            return processes.agreed(self.validate())

    def _stretch_name(self, ahead: int) -> str:
        """Return, e.g., `epoch 2 of 10`; `ahead` is 1 for the running stretch, 0 for the last one."""
        kind = "epoch" if self.stretch == self.steps_per_epoch else "evaluation"
        return f"{kind} {len(self.log.epochs) + ahead} of {-(-self.steps // self.stretch)}"

    def _status(self) -> str:
        text = f"{self._stretch_name(1)}, loss {np.mean(self.losses[-20:]):.3f}"
        mrr = self.log.epochs[-1].validation_mrr if self.log.epochs else self.log.untrained_mrr
        return text if mrr is None else f"{text}, validation MRR {mrr:.3f}"

    def _save(self, after: float = 0.0, *, at_once: bool = False) -> None:
        if not at_once and not self.saved.is_due(after):
            return
        states = self.optimizer.state_dict()["state"]
        groups = {
            "learner": self.learner.state_dict(),
            "best": self.best,
            "scale": self.scale.state_dict(),
            **{f"state/{index}": state for index, state in states.items()},
        }
        tensors = {
            f"{group}/{name}": value
            for group, values in groups.items()
            for name, value in values.items()
            if value is not None
        }
        log = {"log": asdict(self.log), "losses": self.losses, "seconds": self.seconds}
        self.saved.write(tensors, log)

    def _restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
        groups: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for key, value in tensors.items():
            group, _, name = key.removeprefix("state/").partition("/")
            groups[group][name] = value
        self.best = groups.pop("best", {})
        self.learner.load_state_dict(groups.pop("learner", {}))
        self.scale.load_state_dict(groups.pop("scale", {}))
        fresh = self.optimizer.state_dict()
        states = {int(index): state for index, state in groups.items()}
        self.optimizer.load_state_dict({**fresh, "state": states})
        self.log = msgspec.convert(metadata["log"], FitLog)
        self.losses, self.seconds = metadata["losses"], metadata["seconds"]


def _identity(learner: nn.Module, train: RetrievalDataset, config: TrainConfig, seed: int) -> str:
    """Return the digest of everything that determines a training: initial values, rows, order, options."""
    settings = [asdict(config), seed, train.fingerprint]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    add_tensors(digest, learner.state_dict())
    return digest.hexdigest()


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """Return the learning rate at a step, counted from 0.

    >>> [learning_rate(TrainConfig(learning_rate=1.0), step, 4) for step in (0, 2)]
    [1.0, 0.5]
    """
    rate = config.learning_rate * min(1.0, (step + 1) / (config.warmup + 1))
    if config.schedule == "constant":
        return rate
    return rate * (1 + math.cos(math.pi * step / steps)) / 2


def _groups(
    learner: nn.Module, scale: LogitScale, rates: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Return the trained parameters, with the factor of the learning rate of each group."""
    by_factor: dict[float, list[nn.Parameter]] = defaultdict(list)
    for name, parameter in learner.named_parameters():
        if parameter.requires_grad:
            by_factor[rates.get(name.partition(".")[0], 1.0)].append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": each, "factor": factor} for factor, each in by_factor.items()
    ]
    if learned := list(scale.parameters()):
        groups.append({"params": learned, "factor": 1.0, "weight_decay": 0.0})
    return groups


def _optimizer(parameters: list[dict[str, Any]], config: TrainConfig) -> torch.optim.Optimizer:
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=config.learning_rate)
    return torch.optim.SGD(parameters, lr=config.learning_rate, momentum=0.9, weight_decay=5e-4)
