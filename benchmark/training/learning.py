"""Training a method: the loss of pairs, and the one loop with the epoch chosen on validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from benchmark.evaluation.encoding import encode_split, rank_split
from benchmark.evaluation.metrics import mean_mrr
from benchmark.registry import FitLog, Method
from benchmark.training.loop import Batch, TrainConfig, fit
from benchmark.training.losses import LossDirection, info_nce
from fdrd.dataset import RetrievalDataset
from fdrd.progress import Progress, silent


def pair_loss(
    method: Method,
    batch: Batch,
    scale: float,
    direction: LossDirection,
    negatives: Sequence[str] = (),
) -> Tensor:
    """InfoNCE of a batch by a method's own similarity.

    Args:
        method: encodes and scores.
        batch: B pairs.
        scale: what similarities are multiplied by.
        direction: who chooses whom.
        negatives: captions that no image of the batch may choose.
    """
    images = method.encode_image(batch.images)
    texts = method.encode_text([*batch.captions, *negatives])
    return info_nce((scale * method.similarity(images, texts)).float(), direction)


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
    """Train a method's learner on a loss, and leave it as it was after its best epoch.

    Args:
        method: whose `learner` learns, and which is scored after every epoch.
        loss: of a batch.
        train: the rows to learn from.
        validation: the rows to choose the epoch by: mean MRR of both directions.
        config: how.
        seed: decides the order of the rows.
        device: where the towers run.
        progress: told about steps.
    """
    if method.learner is None:
        raise ValueError("the method has nothing to learn")

    def validate() -> float:
        return mean_mrr(rank_split(method, *encode_split(method, validation), validation))

    return fit(
        method.learner, loss, validate, train, config, seed, device=device, progress=progress
    )
