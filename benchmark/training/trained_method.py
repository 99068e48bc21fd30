"""Train a method: the loss of a batch of pairs, the loop, and the class that composes them with a learner."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from benchmark.evaluation.encoding import encode_split, rank_split
from benchmark.evaluation.metrics import mean_mrr
from benchmark.models import processes
from benchmark.models.backbone import Encoder, Features
from benchmark.models.image_batches import AnyImages
from benchmark.registry import Method
from benchmark.result import FitLog
from benchmark.settings import TrainConfig
from benchmark.train_context import TrainContext
from benchmark.training.logit_scale import LogitScale
from benchmark.training.loop import SAME_RATE, Batch, fit
from benchmark.training.losses import PairLoss, contrastive_loss
from fdrd.dataset import RetrievalDataset


def cosine(images: Features, texts: Features) -> Tensor:
    """Return (I, C) cosines of pooled features."""
    return images.pooled @ texts.pooled.T


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
        method: encodes and scores.
        batch: B pairs.
        scale: factor for the similarities.
        direction: of InfoNCE, or `sigmoid`.
        negatives: captions that belong to no image of the batch.
        bias: added to the logits of the sigmoid loss.
    """
    images = method.encode_image(batch.images)
    texts = method.encode_text([*batch.captions, *negatives])
    logits = scale * method.similarity(images, texts)
    return contrastive_loss(logits, direction, batch.repeats, bias)


def learn(
    method: Method,
    loss: Callable[[Batch], Tensor],
    train: RetrievalDataset,
    validation: RetrievalDataset,
    config: TrainConfig,
    seed: int,
    device: torch.device,
    context: TrainContext = TrainContext(),
    earlier: FitLog | None = None,
    rates: Mapping[str, float] = SAME_RATE,
) -> FitLog:
    """Train a method's learner, and restore its best state.

    Args:
        method: its `learner` is trained, and it is validated. The batch has the scale for the loss.
        loss: of a batch.
        train: the training rows.
        validation: the rows that select the state by the mean MRR of both directions.
        config: training options.
        seed: of the order of rows.
        device: of the towers.
        context: what it reports to, and where it is saved.
        earlier: log of an earlier stage of the training, which this one continues.
        rates: share of the learning rate by the name of a child module of the learner, 1 for the others.
    """
    if method.learner is None:
        raise ValueError("the method has no learner")

    def validate() -> float:
        return mean_mrr(rank_split(method, *encode_split(method, validation), validation))

    backbone = getattr(method, "backbone", None)
    log = fit(
        method.learner, loss, validate, train, config, seed,
        device=device, context=context, scale=backbone and LogitScale(backbone, config.scale), earlier=earlier,
        rates=rates,
    )  # fmt: skip
    return replace(log, zero_shot_mrr=_zero_shot_mrr(backbone, validation))


@torch.no_grad()
def _zero_shot_mrr(backbone: Encoder | None, validation: RetrievalDataset) -> float | None:
    """Return the validation MRR of the frozen backbone; None if its features would have to be encoded again."""
    if backbone is None or backbone.frozen is None:
        return None
    frozen = TrainedMethod(backbone, nn.Identity(), TrainConfig(), seed=0)
    mrr = mean_mrr(rank_split(frozen, *encode_split(frozen, validation), validation))
    return processes.agreed(mrr)


class TrainedMethod:
    """A method whose learner is trained with a contrastive loss.

    Args:
        backbone: gives the device and the logit scale.
        learner: its parameters are all that is trained, and a checkpoint holds nothing else.
        train: training settings.
        seed: decides the order of the rows.
        encode_image: features of B images; by default the backbone's.
        encode_text: features of B captions; by default the backbone's.
        similarity: (I, C) scores.
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

    def fit(
        self,
        train: RetrievalDataset,
        validation: RetrievalDataset,
        context: TrainContext = TrainContext(),
    ) -> FitLog:
        """Train the learner."""
        device = self.backbone.device
        return learn(self, self.loss, train, validation, self.config, self.seed, device, context)
