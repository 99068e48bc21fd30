"""Train a method: the loss of a batch of pairs, the loop, and the class that composes them with a learner."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from benchmark.evaluation.encoding import encode_split, rank_split
from benchmark.evaluation.metrics import mean_mrr
from benchmark.models import processes
from benchmark.models.backbone import Encoder, Features
from benchmark.models.image_batches import AnyImages
from benchmark.registry import Method, TrainContext
from benchmark.result import FitLog
from benchmark.settings import PairLoss, TrainConfig
from benchmark.training.logit_scale import LogitScale
from benchmark.training.loop import SAME_RATE, Batch, fit
from benchmark.training.losses import contrastive_loss
from fdrd.dataset import RetrievalDataset


def cosine(images: Features, texts: Features) -> Tensor:
    """Return (I, C) cosines of pooled features."""
    return images.pooled @ texts.pooled.T


def side_by_side(first: Tensor, second: Tensor, weight: float) -> Tensor:
    """Return (B, d + k) unit features, whose cosines are (c + weight c') / (1 + weight) of those of the parts.

    Args:
        first: (B, d) unit features.
        second: (B, k) unit features.
        weight: weight of their cosines, at least 0.
    """
    return nn.functional.normalize(torch.cat([first, math.sqrt(weight) * second], dim=-1), dim=-1)


def pair_loss(
    method: Method,
    batch: Batch,
    scale: float | Tensor,
    direction: PairLoss,
    negatives: Sequence[str] = (),
    bias: float | Tensor = 0.0,
) -> Tensor:
    """Return the contrastive loss of a batch under a method's own similarity.

    Args:
        method: method that encodes and scores.
        batch: B pairs.
        scale: factor of the similarities.
        direction: direction of InfoNCE, or `sigmoid`.
        negatives: captions that belong to no image of the batch.
        bias: added to the logits of the sigmoid loss.
    """
    images = method.encode_image(batch.images)
    texts = method.encode_text([*batch.captions, *negatives])
    logits = scale * method.similarity(images, texts)
    return contrastive_loss(logits, direction, batch.repeats, bias)


class Trainable(Method, Protocol):
    """A method whose learner the shared loop trains."""

    @property
    def backbone(self) -> Encoder:
        """The backbone; its device is that of the training."""

    @property
    def config(self) -> TrainConfig:
        """Training options."""

    @property
    def seed(self) -> int:
        """Seed of the order of the rows."""

    @property
    def loss(self) -> Callable[..., Tensor]:
        """Loss of a `Batch`, which has the scale of the similarities."""


def learn(
    method: Trainable,
    train: RetrievalDataset,
    validation: RetrievalDataset,
    context: TrainContext = TrainContext(),
    *,
    loss: Callable[[Batch], Tensor] | None = None,
    config: TrainConfig | None = None,
    earlier: FitLog | None = None,
    rates: Mapping[str, float] = SAME_RATE,
) -> FitLog:
    """Train a method's learner, and restore its best state.

    Args:
        method: method whose learner is trained, and which is validated.
        train: training rows.
        validation: rows that select the state by the mean MRR of both directions.
        context: what the training reports to, and where it is saved.
        loss: loss of a batch; by default the method's.
        config: training options; by default the method's.
        earlier: log of an earlier stage of the training, which this one continues.
        rates: share of the learning rate by the name of a child module of the learner, 1 for the others.
    """
    if method.learner is None:
        raise ValueError("the method has no learner")
    backbone, config = method.backbone, config or method.config

    def validate() -> float:
        return mean_mrr(rank_split(method, *encode_split(method, validation), validation))

    log = fit(
        method.learner,
        loss or method.loss,
        validate,
        train,
        config,
        method.seed,
        device=backbone.device,
        context=context,
        scale=LogitScale(backbone, config.scale),
        earlier=earlier,
        rates=rates,
    )
    return replace(log, zero_shot_mrr=_zero_shot_mrr(backbone, validation))


@torch.no_grad()
def _zero_shot_mrr(backbone: Encoder, validation: RetrievalDataset) -> float | None:
    """Return the validation MRR of the frozen backbone; None if its features would have to be encoded again."""
    if backbone.frozen is None:
        return None
    frozen = TrainedMethod(backbone, nn.Identity(), TrainConfig(), seed=0)
    mrr = mean_mrr(rank_split(frozen, *encode_split(frozen, validation), validation))
    return processes.agreed(mrr)


class TrainedMethod:
    """A method whose learner is trained with a contrastive loss.

    Args:
        backbone: backbone that gives the device and the logit scale.
        learner: module whose parameters are all that is trained; a checkpoint holds nothing else.
        train: training options.
        seed: seed of the order of the rows.
        encode_image: function to the features of B images; by default the backbone's.
        encode_text: function to the features of B captions; by default the backbone's.
        similarity: function to (I, C) scores.
        loss: direction of InfoNCE, `sigmoid`, or another loss of a batch.
        trains: `backbone` if the learner holds weights of a copied backbone.
    """

    def __init__(
        self,
        backbone: Encoder,
        learner: nn.Module,
        train: TrainConfig,
        seed: int,
        *,
        encode_image: Callable[[AnyImages], Features] | None = None,
        encode_text: Callable[[Sequence[str]], Features] | None = None,
        similarity: Callable[[Features, Features], Tensor] = cosine,
        loss: PairLoss | Callable[[Batch], Tensor] = "symmetric",
        trains: Literal["prompts", "backbone"] = "prompts",
    ):
        self.backbone = backbone
        self.learner = learner.to(backbone.device)
        self.config = train
        self.seed = seed
        self.encode_image = encode_image or backbone.encode_image
        self.encode_text = encode_text or backbone.encode_text
        self.similarity = similarity
        self.loss: Callable[[Batch], Tensor] = (
            loss
            if callable(loss)
            else lambda batch: pair_loss(
                self, batch, batch.scale_of(backbone), loss, bias=batch.bias_of(backbone)
            )
        )
        self.trains: Literal["prompts", "backbone"] = trains

    def __repr__(self) -> str:
        count = sum(each.numel() for each in self.learner.parameters() if each.requires_grad)
        return f"{type(self).__name__}({count:,} trained parameters)"

    def fit(
        self,
        train: RetrievalDataset,
        validation: RetrievalDataset,
        context: TrainContext = TrainContext(),
    ) -> FitLog:
        """Train the learner."""
        return learn(self, train, validation, context)
