"""DCAR: prompts in both towers, token weights against a blank image, a category-aware loss.

After figure 2 of arXiv 2508.04028. The body of the paper has not been read by us; `dcar/README.md` says how well
each part is supported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

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
    Prompts,
    TrainConfig,
    TrainContext,
    learn,
    method,
)
from benchmark.models.backbone import PROMPTS
from benchmark.models.layers import BlockEncoder
from benchmark.registry import QUIET, Needs
from benchmark.training.closed_form import choose
from benchmark.training.learners import at_most
from benchmark.training.losses import contrastive_loss
from benchmark.training.trained_method import TrainedMethod, cosine, side_by_side
from dcar.candidates import CandidateCaptions
from dcar.category_loss import category_aware_loss
from dcar.options import VARIANTS, DCARConfig
from dcar.token_weights import caption_weights
from fdrd.dataset import RetrievalDataset

MAPLE_DEPTH = 9
"""Layers with prompts in MaPLe, from whose code DCAR probably descends."""

ADAPTER_BATCH = 256
"""Rows per step while the adapters train alone."""

ADAPTER_RATE = 0.2
"""Learning rate of the adapters as a share of that of the prompts."""


class Learner(nn.Module):
    """Everything that DCAR trains.

    Args:
        prompts: prompts of both towers.
        adapter: adapter of the plain text features.
        second: adapter that takes the place of the prompts, if any.
    """

    entered: Tensor

    def __init__(self, prompts: CoupledPrompts, adapter: Adapter, second: Adapter | None = None):
        super().__init__()
        self.prompts = prompts
        self.adapter = adapter
        self.second = second
        # Prompts enter the towers with the first step that trains them, so that the untrained state, which may
        # be the best, is the adapter without random prompts.
        self.register_buffer("entered", torch.tensor(False))

    def forward(self) -> Prompts:
        """Return the prompts, or none before they have entered."""
        prompts: Prompts = self.prompts() if self.entered else Prompts()
        return prompts


class DCAR(TrainedMethod):
    """A frozen backbone with coupled prompts and an adapter.

    Captions and images have two features. The first comes from the prompted tower, the second from the plain
    tower; that of a caption passes through an adapter. The score is the cosine
    of the prompted features plus gamma times that of the adapted ones, over 1 + gamma.

    Args:
        blocks: the frozen backbone, and what the adapter reads.
        learner: prompts and adapters.
        options: the options, with `depth` resolved.
        train: training options.
        seed: seed of the order of the rows and of the negatives.
    """

    backbone: Backbone
    learner: Learner

    def __init__(
        self,
        blocks: BlockEncoder,
        learner: Learner,
        options: DCARConfig,
        train: TrainConfig,
        seed: int = 0,
    ):
        super().__init__(
            blocks.encoder,
            learner,
            train,
            seed,
            encode_image=lambda images: self._image_features(images)[1],
            encode_text=lambda captions: self._texts(captions, None),
            loss=self._joint_loss,
        )
        self.blocks = blocks
        self.options = options
        self.candidates: CandidateCaptions | None = None
        """drawn from the training rows, once `draw_from` has been called"""

    def fit(
        self,
        train: RetrievalDataset,
        validation: RetrievalDataset,
        context: TrainContext = QUIET,
    ) -> FitLog:
        """Choose the layers if there is a choice; train the adapter alone, then with the prompts."""
        options = self.options
        if len(self.blocks.sets) > 1:
            found = choose(self.blocks, train, validation, progress=context.progress)
            for adapter in filter(None, (self.learner.adapter, self.learner.second)):
                adapter.use(found.columns[1])
        if options.lambda_cate:
            self.draw_from(train)
        earlier = None
        if options.adapter_epochs and options.trains_adapter:
            earlier = self._fit_adapters(train, validation, context)
        return learn(self, train, validation, context, earlier=earlier, rates=RATES)

    def _fit_adapters(
        self, train: RetrievalDataset, validation: RetrievalDataset, context: TrainContext
    ) -> FitLog:
        """Train the adapters on plain features, which are cached: this takes seconds."""
        config = self.config.changed(
            {
                "epochs": self.options.adapter_epochs,
                "batch_size": ADAPTER_BATCH,
                "eval_every": 0,
                "patience": 0,
            }
        )

        def report(stage: str, done: int, total: int) -> None:
            context.progress(f"adapter alone: {stage}", done, total)

        # Only the joint training is resumable.
        alone = replace(context, progress=report, saved=None)
        return learn(self, train, validation, alone, loss=self._loss, config=config, rates=RATES)

    def draw_from(self, train: RetrievalDataset) -> None:
        """Let the category-aware loss draw candidates from these rows."""
        self.candidates = CandidateCaptions(train, self.seed, n_attribute=self.options.n_attribute)

    def _joint_loss(self, batch: Batch) -> Tensor:
        """Return the contrastive loss of what is scored, plus the category-aware loss."""
        self.learner.entered.fill_(True)
        return self._loss(batch)

    def _loss(self, batch: Batch) -> Tensor:
        """Return both losses of the learner as it is, with prompts or before they have entered."""
        options, prompts = self.options, self.learner()
        prompted, images, compared = self._image_features(batch.images)
        weights = None
        if options.beta and prompts.text:
            weights = caption_weights(
                self.backbone, prompts, prompted, batch.captions, options.beta
            )
        logits = batch.scale_of(self.backbone) * cosine(
            images, self._texts(batch.captions, weights)
        )
        loss = contrastive_loss(logits, options.loss, batch.repeats, batch.bias_of(self.backbone))
        if options.lambda_cate:
            loss = loss + options.lambda_cate * self._category_loss(batch, compared)
        return loss

    def _image_features(self, images: AnyImages) -> tuple[Tensor, Features, Tensor]:
        """Return (B, d) prompted features, what is scored, and (B, d) that adapted captions are compared with."""
        prompted = self.backbone.encode_image(images, self.learner()).pooled
        if not self._has_two_paths():
            return prompted, Features(prompted), prompted
        with torch.no_grad():
            plain = self.backbone.encode_image(images).pooled
        return prompted, self._joined(prompted, plain), plain

    def _texts(self, captions: Sequence[str], weights: Tensor | None) -> Features:
        """Return scored features of B captions under token weights (B, T), which only training has."""
        if not self.options.gamma:
            return Features(self._prompted(captions, weights))
        adapted = self.learner.adapter(self._plain(captions))
        if not self._has_two_paths():  # no prompts, or not yet
            return Features(adapted)
        return self._joined(self._prompted(captions, weights), adapted)

    def _has_two_paths(self) -> bool:
        """Return whether prompted and adapted features are both scored."""
        beside = self.options.depth > 0 or self.options.second_adapter
        return self.options.gamma > 0 and beside and bool(self.learner.entered)

    def _joined(self, prompted: Tensor, adapted: Tensor) -> Features:
        """Return (B, 2d) unit features that join both, `side_by_side`."""
        return Features(side_by_side(prompted, adapted, self.options.gamma))

    def _prompted(self, captions: Sequence[str], weights: Tensor | None) -> Tensor:
        """Return (B, d) features of captions from the prompted text tower, or of the adapter in its place."""
        if self.learner.second is not None:
            adapted: Tensor = self.learner.second(self._plain(captions))
            return adapted
        prompts = Prompts(text=self.learner().text, token_weights=weights)
        return self.backbone.encode_text(captions, prompts).pooled

    @torch.no_grad()
    def _plain(self, captions: Sequence[str]) -> Tensor:
        """Return (B, D) features of the plain text tower, truncated where the prompted tower truncates."""
        return self.blocks.encode_text(captions)

    def _category_loss(self, batch: Batch, images: Tensor) -> Tensor:
        """Return the category-aware loss over plain caption features through the adapter."""
        assert self.candidates is not None, "call draw_from first"
        drawn = self.candidates.draw(batch)
        return category_aware_loss(
            images,
            self.learner.adapter(self._plain(drawn.captions)),
            drawn.category.to(images.device),
            drawn.allowed.to(images.device),
            scale=batch.scale_of(self.backbone),
            epsilon=self.options.epsilon,
        )


RATES = {"adapter": ADAPTER_RATE, "second": ADAPTER_RATE}
"""Share of the learning rate by part of the learner."""

TRAIN = TrainConfig(optimizer="adamw", learning_rate=0.005, batch_size=64)

NEEDS = Needs(frozenset({PROMPTS}), unless={"depth": 0})


@method("dcar", ablations=VARIANTS, options=DCARConfig, needs=NEEDS, trains="prompts, adapter")
def dcar(backbone: Backbone, *, train: TrainConfig = TRAIN, seed: int = 0, **options: Any) -> DCAR:
    """Train coupled prompts with token weights and a category-aware loss (arXiv 2508.04028).

    Args:
        backbone: stays frozen.
        train: training settings; adapters learn at a fifth of the learning rate.
        seed: seed of the initial values, the order of the rows, and the negatives.
        options: see `DCARConfig`.
    """
    config = DCARConfig(**options)
    if config.depth < 0:
        config = replace(config, depth=at_most(backbone, MAPLE_DEPTH))
    form: Literal["residual", "identity"] = "residual" if config.adapter else "identity"
    blocks = BlockEncoder(backbone, config.layers, reserve=config.n_ctx if config.depth else 0)
    adapter = Adapter(backbone.dim, form, 1.0, 1.0, seed, blocks.text_dim)
    second = None
    if config.second_adapter:
        second = Adapter(backbone.dim, "residual", 1.0, 1.0, seed + 1, blocks.text_dim)
    prompts = CoupledPrompts(backbone, config.n_ctx, "", config.depth, "linear", seed)
    return DCAR(blocks, Learner(prompts, adapter, second), config, train, seed)
