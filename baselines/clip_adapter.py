"""CLIP-Adapter (arXiv 2110.04544): a small residual bottleneck behind a frozen tower.

x becomes ratio * ReLU(W2 ReLU(W1 x)) + (1 - ratio) * x, brought to unit length. Only frozen features are
looked at, so once they are cached no tower runs in training.

Differs from the paper: the text side is adapted unless another is asked for (the paper's released code
adapts images; but there captions are a short list of class names, here they are as rich as pictures, and
an adapted text stream is what this project's DCAR gains most by, so this is its nearest rival; `both`
was better than either in a first trial); whole captions instead of class names; a symmetric loss over
pairs; AdamW, batches of 256 and 50 epochs, which cached features make cheap, instead of SGD; no random
crops, which cached features exclude.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from benchmark import (
    Adapter,
    AnyImages,
    Backbone,
    Batch,
    Features,
    FitLog,
    LossDirection,
    Progress,
    TrainConfig,
    learn,
    method,
    pair_loss,
    silent,
)
from fdrd.dataset import RetrievalDataset

Side = Literal["text", "image", "both"]
Form = Literal["bottleneck", "residual", "linear"]


class ClipAdapter:
    """A frozen backbone with adapters behind its towers, scored by cosine.

    Args:
        backbone: stays as it is.
        adapters: by side, `image` and `text`; a side without one stays as it is.
        train: how.
        seed: decides the order of the rows.
        loss: of the (B, B) logits.
    """

    trains: Literal["prompts"] = "prompts"

    def __init__(
        self,
        backbone: Backbone,
        adapters: dict[str, Adapter],
        train: TrainConfig,
        seed: int = 0,
        loss: LossDirection = "symmetric",
    ):
        self.backbone = backbone
        self.learner = nn.ModuleDict(adapters).to(backbone.device)
        self.config = train
        self.seed = seed
        self.direction: LossDirection = loss

    def fit(
        self, train: RetrievalDataset, validation: RetrievalDataset, progress: Progress = silent
    ) -> FitLog:
        """Learn the adapters."""
        device = self.backbone.device
        return learn(self, self.loss, train, validation, self.config, self.seed, device, progress)

    def loss(self, batch: Batch) -> Tensor:
        """InfoNCE of a batch at the backbone's own scale."""
        return pair_loss(self, batch, self.backbone.logit_scale, self.direction)

    def encode_image(self, images: AnyImages) -> Features:
        """Features of B images, adapted where that side is."""
        return self._adapted("image", self.backbone.encode_image(images))

    def encode_text(self, captions: Sequence[str]) -> Features:
        """Features of B captions, adapted where that side is."""
        return self._adapted("text", self.backbone.encode_text(captions))

    def similarity(self, images: Features, texts: Features) -> Tensor:
        """(I, C) cosines."""
        return images.pooled @ texts.pooled.T

    def _adapted(self, side: str, features: Features) -> Features:
        if side not in self.learner:
            return features
        return Features(self.learner[side](features.pooled))


@method("clip_adapter")
def clip_adapter(
    backbone: Backbone,
    *,
    side: Side = "text",
    form: Form = "bottleneck",
    reduction: int = 4,
    ratio: float = 0.2,
    loss: LossDirection = "symmetric",
    train: TrainConfig = TrainConfig(
        epochs=50, batch_size=256, optimiser="adamw", learning_rate=1e-3
    ),
    seed: int = 0,
) -> ClipAdapter:
    """A residual bottleneck behind frozen features (arXiv 2110.04544).

    Args:
        backbone: stays frozen.
        side: which features are adapted.
        form: the paper's bottleneck; residual, which starts as the identity; or linear, the same in one
            layer.
        reduction: the width of the joint space is divided by it within the bottleneck.
        ratio: share of what is learned in the result.
        loss: symmetric, or one direction alone.
        train: the training.
        seed: of the initial weights and the order of the rows.
    """
    sides = ("image", "text") if side == "both" else (side,)
    adapters = {
        each: Adapter(backbone.dim, form, reduction, ratio, seed + number)
        for number, each in enumerate(sides)
    }
    return ClipAdapter(backbone, adapters, train, seed, loss)
