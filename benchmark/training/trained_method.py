"""Train a method: the loss of a batch of pairs, the loop, and the classes that compose them with a learner.

`TrainedMethod` leaves the backbone frozen, `FineTuned` trains weights of a copy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from benchmark.evaluation.encoding import encode_split, rank_split
from benchmark.evaluation.ranking import mean_mrr
from benchmark.models import processes
from benchmark.models.backbone import Backbone, Encoder, Features
from benchmark.models.image_batches import AnyImages
from benchmark.registry import QUIET, Method, TrainContext
from benchmark.result import FitLog
from benchmark.settings import PairLoss, TrainConfig
from benchmark.training.loop import SAME_RATE, Batch, Training
from benchmark.training.losses import LogitScale, contrastive_loss
from fdrd.dataset import RetrievalDataset

BatchNegatives: TypeAlias = Callable[[Batch], Sequence[str]]
"""Hard negatives of the rows of a batch."""

Prepare: TypeAlias = Callable[[RetrievalDataset, RetrievalDataset, TrainContext], None]
"""Called with training rows, validation rows and the context of a training."""


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


def learn(
    method: TrainedMethod,
    train: RetrievalDataset,
    validation: RetrievalDataset,
    context: TrainContext = QUIET,
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
    backbone, config = method.backbone, config or method.config
    training = Training(
        method.learner,
        loss or method.loss,
        lambda: _mrr(method, validation),
        train,
        config,
        method.seed,
        device=backbone.device,
        context=context,
        scale=LogitScale(backbone, config.scale),
        earlier=earlier,
        rates=rates,
    )
    log = training.run()
    if backbone.frozen is None:  # the features for its own MRR would have to be encoded again
        return log
    frozen = TrainedMethod(backbone, nn.Identity(), TrainConfig(), seed=0)
    return replace(log, zero_shot_mrr=processes.agreed(_mrr(frozen, validation)))


def _mrr(method: Method, validation: RetrievalDataset) -> float:
    return mean_mrr(rank_split(method, *encode_split(method, validation), validation))


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
        prepare: what `fit` does before the training, with the same arguments.
        remarks: caveats, as in `Method`.
    """

    trains: Literal["prompts", "backbone"] = "prompts"

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
        prepare: Prepare | None = None,
        remarks: Mapping[str, str] | None = None,
    ):
        self.backbone = backbone
        self.learner = learner.to(backbone.device)
        self.config = train
        self.seed = seed
        self.encode_image = encode_image or backbone.encode_image
        self.encode_text = encode_text or backbone.encode_text
        self.similarity = similarity
        self.loss: Callable[..., Tensor] = loss if callable(loss) else self.contrast(loss)
        self.prepare = prepare
        self.remarks = remarks or {}

    def __repr__(self) -> str:
        count = sum(each.numel() for each in self.learner.parameters() if each.requires_grad)
        return f"{type(self).__name__}({count:,} trained parameters)"

    def contrast(self, direction: PairLoss) -> Callable[..., Tensor]:
        """Return the contrastive loss of a batch and its hard negatives at the scale of the batch."""

        def loss(batch: Batch, negatives: Sequence[str] = ()) -> Tensor:
            scale, bias = batch.scale_of(self.backbone), batch.bias_of(self.backbone)
            return pair_loss(self, batch, scale, direction, negatives, bias)

        return loss

    def fit(
        self, train: RetrievalDataset, validation: RetrievalDataset, context: TrainContext = QUIET
    ) -> FitLog:
        """Train the learner."""
        if self.prepare:
            self.prepare(train, validation, context)
        return learn(self, train, validation, context)


def towers_of(backbone: Backbone) -> nn.ModuleDict:
    """Return both towers with their projections: everything of a CLIPModel except the logit scale."""
    return nn.ModuleDict(dict(backbone.model.named_children()))


class FineTuned(TrainedMethod):
    """A fine-tuned copy of a backbone, trained with a contrastive loss.

    Its features are not cached, so each evaluation uses the current weights. Training needs memory for the
    original backbone, the copy, and for each trained weight its gradient, one (sgd) or two (adamw) values of
    the optimizer, and the value of the best state.

    The backbone is a copy, from `Backbone.trainable_copy`; the learner holds those of its modules that are trained and
    saved. `negatives` gets the training rows and returns a function from a batch to its hard negatives, which the loss
    gets, too. `train` and `seed` are those of `TrainedMethod`.
    """

    trains = "backbone"

    def __init__(
        self,
        backbone: Backbone,
        learner: nn.Module,
        train: TrainConfig,
        seed: int = 0,
        loss: PairLoss | Callable[[Batch, Sequence[str]], Tensor] = "symmetric",
        negatives: Callable[[RetrievalDataset], BatchNegatives] | None = None,
    ):
        super().__init__(backbone, learner, train, seed)
        self.backbone: Backbone = backbone
        self.loss = loss if callable(loss) else self.contrast(loss)
        self.negatives = negatives

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the fine-tuned model as `transformers` loads it, with low-rank updates merged."""
        merged = self.backbone.trainable_copy()
        for name, module in list(merged.model.named_modules()):
            if hasattr(module, "base_layer"):  # a layer of peft
                module.merge()
                parent, _, last = name.rpartition(".")
                setattr(merged.model.get_submodule(parent), last, module.base_layer)
        merged.save_pretrained(str(folder))

    def fit(
        self, train: RetrievalDataset, validation: RetrievalDataset, context: TrainContext = QUIET
    ) -> FitLog:
        """Train the weights."""
        negatives = self.negatives(train) if self.negatives else lambda _batch: ()
        loss = self.loss
        return learn(
            self, train, validation, context, loss=lambda batch: loss(batch, negatives(batch))
        )
