"""DCAR as drawn in figure 2 of arXiv 2508.04028, where the figure shows a choice; `method.py` is our reading of it.

Prompts enter the first layer. An image chooses among its own caption and four negatives, two of them with a swapped
attribute. Prompts and box train together from the start, the score is that of the prompted features alone, and
both losses see the same image feature.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from benchmark import (
    Adapter,
    AnyImages,
    Backbone,
    Batch,
    CoupledPrompts,
    Features,
    FitLog,
    Progress,
    Prompts,
    TrainConfig,
    learn,
    method,
    silent,
)
from benchmark.models.backbone import PROMPTS
from benchmark.training.losses import contrastive_loss
from benchmark.training.trained_method import cosine
from dcar.candidates import CandidateCaptions, DrawnCaptions
from dcar.category_loss import choice_loss
from dcar.method import RATES, TRAIN
from dcar.token_weights import caption_weights
from fdrd.dataset import RetrievalDataset

N_ATTRIBUTE = 2
"""Negatives of a caption that swap an attribute; the figure draws both kinds."""


class DCARFigure:
    """A frozen backbone with coupled prompts, scored by the cosine of prompted features.

    Args:
        backbone: stays frozen.
        learner: `prompts` of both towers, and the `adapter` of the plain captions.
        beta: strength of the token weights.
        alpha: a caption of the image's own category has the weight 1 + alpha in the category-aware loss, others 1.
        train: training settings.
        seed: seed of the order of the rows and of the negatives.
    """

    trains: Literal["prompts"] = "prompts"

    def __init__(
        self,
        backbone: Backbone,
        learner: nn.ModuleDict,
        beta: float,
        alpha: float,
        train: TrainConfig,
        seed: int,
    ):
        self.backbone = backbone
        self.learner = learner.to(backbone.device)
        self.beta = beta
        self.alpha = alpha
        self.training = train
        self.seed = seed
        self.candidates: CandidateCaptions | None = None

    def fit(
        self, train: RetrievalDataset, validation: RetrievalDataset, progress: Progress = silent
    ) -> FitLog:
        """Train prompts and adapter together."""
        self.candidates = CandidateCaptions(train, self.seed, own=True, n_attribute=N_ATTRIBUTE)
        return learn(
            self, self.loss, train, validation, self.training, self.seed, self.backbone.device,
            progress, rates=RATES,
        )  # fmt: skip

    def loss(self, batch: Batch) -> Tensor:
        """Return the contrastive loss of prompted features, plus the category-aware loss."""
        prompts: Prompts = self.learner["prompts"]()
        images = self.encode_image(batch.images).pooled
        weights = caption_weights(self.backbone, prompts, images, batch.captions, self.beta)
        weighted = Prompts(text=prompts.text, token_weights=weights)
        texts = self.backbone.encode_text(batch.captions, weighted).pooled
        logits = self.backbone.logit_scale * images @ texts.T
        bias = self.backbone.logit_bias
        return contrastive_loss(logits, "symmetric", batch.repeats, bias) + self._category_loss(
            batch, images
        )

    def encode_image(self, images: AnyImages) -> Features:
        """Return features of B images from the prompted tower."""
        return self.backbone.encode_image(images, self.learner["prompts"]())

    def encode_text(self, captions: Sequence[str]) -> Features:
        """Return features of B captions from the prompted tower, without token weights."""
        prompts: Prompts = self.learner["prompts"]()
        return self.backbone.encode_text(captions, Prompts(text=prompts.text))

    def similarity(self, images: Features, texts: Features) -> Tensor:
        """Return (I, C) cosines."""
        return cosine(images, texts)

    def _category_loss(self, batch: Batch, images: Tensor) -> Tensor:
        """Return the cross entropy of `scale * S + log w` over each image's own caption and its negatives."""
        assert self.candidates is not None, "call fit first"
        drawn: DrawnCaptions = self.candidates.draw(batch)
        reserve = self.learner["prompts"]().text[0].shape[-2]
        with torch.no_grad():
            plain = self.backbone.encode_text(drawn.captions, reserve=reserve).pooled
        logits = self.backbone.logit_scale * (images @ self.learner["adapter"](plain).T)
        category = torch.from_numpy(drawn.category).to(images.device)
        same = category == category[: len(images), None]
        own = torch.eye(*logits.shape, device=images.device)
        allowed = torch.from_numpy(drawn.allowed).to(images.device)
        return choice_loss(
            logits + same * math.log(1 + self.alpha), allowed, own, torch.zeros_like(own)
        )


@method("dcar_figure", needs=PROMPTS)
def dcar_figure(
    backbone: Backbone,
    *,
    n_ctx: int = 4,
    depth: int = 1,
    beta: float = 0.5,
    alpha: float = 0.5,
    train: TrainConfig = TRAIN,
    seed: int = 0,
) -> DCARFigure:
    """Train what figure 2 of arXiv 2508.04028 shows, and nothing else.

    Args:
        backbone: stays frozen.
        n_ctx: context tokens, and visual tokens, per layer.
        depth: layers of both towers with prompts.
        beta: strength of the token weights in training; 0 for none.
        alpha: extra weight of captions of the image's own category in the category-aware loss.
        train: training settings; the adapter learns at a fifth of the learning rate.
        seed: seed of the initial values, the order of the rows, and the negatives.
    """
    learner = nn.ModuleDict(
        {
            "prompts": CoupledPrompts(backbone, n_ctx, "", depth, "linear", seed),
            "adapter": Adapter(backbone.dim, "residual", 1.0, 1.0, seed),
        }
    )
    return DCARFigure(backbone, learner, beta, alpha, train, seed)
