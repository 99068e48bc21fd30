"""DCAR as drawn in figure 2 of arXiv 2508.04028, where the figure shows a choice; `method.py` is our reading of it.

Prompts enter the first layer. An image chooses among its own caption and four negatives, two of them with a swapped
attribute. Prompts and box train together from the start, the score is that of the prompted features alone, and
both losses see the same image feature.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmark import (
    Adapter,
    Backbone,
    Batch,
    CoupledPrompts,
    FitLog,
    PromptMethod,
    Prompts,
    TrainConfig,
    TrainContext,
    info_nce,
    learn,
    method,
)
from benchmark.models.backbone import PROMPTS
from benchmark.registry import QUIET
from dcar.candidates import CandidateCaptions
from dcar.category_loss import choice_loss
from dcar.method import RATES, TRAIN, Learner
from dcar.token_weights import caption_weights
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError

N_ATTRIBUTE = 2
"""Negatives of a caption that swap an attribute; the figure draws both kinds."""


class DCARFigure(PromptMethod):
    """A frozen backbone with coupled prompts, scored by the cosine of prompted features.

    Args:
        backbone: stays frozen.
        learner: prompts and adapter.
        beta: strength of the token weights.
        alpha: a caption of the image's own category has the weight 1 + alpha in the category-aware loss, others 1.
        train: training settings.
        seed: seed of the order of the rows and of the negatives.
    """

    backbone: Backbone
    learner: Learner

    def __init__(
        self,
        backbone: Backbone,
        learner: Learner,
        beta: float,
        alpha: float,
        train: TrainConfig,
        seed: int,
    ):
        super().__init__(backbone, learner, train, seed)
        self.loss = self._loss
        self.beta = beta
        self.alpha = alpha
        self.candidates: CandidateCaptions | None = None

    def fit(
        self,
        train: RetrievalDataset,
        validation: RetrievalDataset,
        context: TrainContext = QUIET,
    ) -> FitLog:
        """Train prompts and adapter together."""
        self.candidates = CandidateCaptions(train, self.seed, own=True, n_attribute=N_ATTRIBUTE)
        return learn(self, train, validation, context, rates=RATES)

    def _loss(self, batch: Batch) -> Tensor:
        """Return the contrastive loss of prompted features, plus the category-aware loss."""
        backbone, prompts = self.backbone, self.learner()
        images = self.encode_image(batch.images).pooled
        weights = caption_weights(backbone, prompts, images, batch.captions, self.beta)
        weighted = Prompts(text=prompts.text, token_weights=weights)
        texts = backbone.encode_text(batch.captions, weighted).pooled
        contrast = info_nce(batch.scale_of(backbone) * images @ texts.T, repeats=batch.repeats)
        return contrast + self._category_loss(batch, images, prompts.text[0].shape[-2])

    def _category_loss(self, batch: Batch, images: Tensor, n_ctx: int) -> Tensor:
        """Return the cross entropy of `scale * S + log w` over each image's own caption and its negatives."""
        assert self.candidates is not None, "call fit first"
        drawn = self.candidates.draw(batch)
        with torch.no_grad():
            plain = self.backbone.encode_text(drawn.captions, reserve=n_ctx).pooled
        logits = batch.scale_of(self.backbone) * (images @ self.learner.adapter(plain).T)
        same = drawn.category == drawn.category[: len(images), None]
        logits = logits + same.to(images.device) * math.log(1 + self.alpha)
        own = torch.eye(*logits.shape, device=images.device)
        return choice_loss(logits, drawn.allowed.to(images.device), own, torch.zeros_like(own))


@method("dcar_figure", needs=PROMPTS, trains="prompts, adapter")
def dcar_figure(
    backbone: Backbone,
    *,
    n_ctx: int = 4,
    beta: float = 0.5,
    alpha: float = 0.5,
    train: TrainConfig = TRAIN,
    seed: int = 0,
) -> DCARFigure:
    """Train what figure 2 of arXiv 2508.04028 shows, and nothing else.

    Args:
        backbone: stays frozen.
        n_ctx: context tokens, and visual tokens, in the first layer.
        beta: strength of the token weights in training; 0 for none.
        alpha: extra weight of captions of the image's own category in the category-aware loss.
        train: training settings; the adapter learns at a fifth of the learning rate.
        seed: seed of the initial values, the order of the rows, and the negatives.

    Raises:
        FdrdError: beta or alpha is negative.
    """
    if beta < 0 or alpha < 0:
        raise FdrdError(f"beta={beta:g} and alpha={alpha:g}: must be at least 0")
    prompts = CoupledPrompts(backbone, n_ctx, "", 1, "linear", seed)
    learner = Learner(prompts, Adapter(backbone.dim, "residual", 1.0, 1.0, seed))
    learner.entered.fill_(True)
    return DCARFigure(backbone, learner, beta, alpha, train, seed)
