"""Train a method: the loss of a batch of pairs, and the loop that selects the epoch on validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from benchmark.evaluation.encoding import encode_split, rank_split
from benchmark.evaluation.metrics import mean_mrr
from benchmark.registry import Method
from benchmark.result import FitLog
from benchmark.settings import TrainConfig
from benchmark.training.loop import Batch, fit
from benchmark.training.losses import PairLoss, info_nce, sigmoid_loss
from fdrd.dataset import RetrievalDataset
from fdrd.progress import Progress, silent


def pair_loss(
    method: Method,
    batch: Batch,
    scale: float,
    direction: PairLoss,
    negatives: Sequence[str] = (),
    bias: float = 0.0,
) -> Tensor:
    """Return the contrastive loss of a batch under a method's own similarity.

    Args:
        method: encodes and scores.
        batch: B pairs.
        scale: factor for the similarities.
        direction: of InfoNCE, or `sigmoid`.
        negatives: captions that belong to no image of the batch.
        bias: added to the logits of the sigmoid loss.
    """
    images = method.encode_image(batch.images)
    texts = method.encode_text([*batch.captions, *negatives])
    logits = (scale * method.similarity(images, texts)).float()
    return sigmoid_loss(logits + bias) if direction == "sigmoid" else info_nce(logits, direction)


def learn(
    method: Method,
    loss: Callable[[Batch], Tensor],
    train: RetrievalDataset,
    validation: RetrievalDataset,
    config: TrainConfig,
    seed: int,
    device: torch.device,
    progress: Progress = silent,
) -> FitLog:
    """Train a method's learner, and restore its best epoch.

    Args:
        method: its `learner` is trained, and it is validated after every epoch.
        loss: of a batch.
        train: the training rows.
        validation: the rows that select the epoch by the mean MRR of both directions.
        config: training options.
        seed: of the order of rows.
        device: of the towers.
        progress: receives steps.
    """
    if method.learner is None:
        raise ValueError("the method has no learner")

    def validate() -> float:
        return mean_mrr(rank_split(method, *encode_split(method, validation), validation))

    return fit(
        method.learner, loss, validate, train, config, seed, device=device, progress=progress
    )
