"""DCAR: prompts in both towers, token weights against a blank image, a category-aware loss.

After figure 2 of arXiv 2508.04028. The body of the paper has not been read by us; `dcar/README.md` says how well
each part is supported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, normalize

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
    TrainingNegatives,
    info_nce,
    learn,
    method,
    silent,
)
from benchmark.evaluation.caption_tokens import encode_captions
from benchmark.models.backbone import PROMPTS
from benchmark.registry import Needs
from benchmark.training.prompt_learners import at_most
from benchmark.training.resumable import resumable
from benchmark.training.trained_method import TrainedMethod, cosine
from dcar.ablation import VARIANTS
from dcar.blank import blank_image
from dcar.category_loss import ExtraTexts, category_aware_loss
from dcar.extra_candidates import ExtraCandidates
from dcar.learner import Learner
from dcar.options import DEPTH, DCARConfig
from dcar.reranking import scoring
from dcar.token_weights import by_word, similarity_change, token_weights
from dcar.words import WordFeatures
from fdrd.dataset import RetrievalDataset


class DCAR:
    """A frozen backbone with coupled prompts and an adapter.

    A caption has two features: one from the prompted tower, and one from the plain tower through the
    adapter. The score uses the first plus gamma times the second, normalized.

    Args:
        backbone: stays frozen.
        learner: prompts and adapter.
        config: the options, with `depth` resolved.
        train: training settings.
        seed: decides the order of the rows and the negatives.
    """

    trains: Literal["prompts"] = "prompts"

    def __init__(
        self,
        backbone: Backbone,
        learner: Learner,
        config: DCARConfig,
        train: TrainConfig,
        seed: int = 0,
    ):
        self.backbone = backbone
        self.learner = learner.to(backbone.device)
        self.config = config
        self.training = train
        self.seed = seed
        self.similarity = cosine
        self.scoring = scoring(
            self,
            config.test_weights,
            by_patch=config.weight_look != "global",
            shortlist=config.shortlist,
            pair_limit=config.pair_limit,
        )
        self._blank = blank_image(config.blank)
        self._words = WordFeatures(backbone)
        self.negatives: TrainingNegatives | None = None
        """of the training rows, once `draw_from` has been called"""
        self.extra: ExtraCandidates | None = None

    def fit(
        self, train: RetrievalDataset, validation: RetrievalDataset, progress: Progress = silent
    ) -> FitLog:
        """Train the adapter alone, then prompts and adapter together."""
        config, device = self.config, self.backbone.device
        if config.lambda_cate:
            self.draw_from(train)
            if config.adapter_epochs and self.learner.adapter.form != "identity":
                self._fit_adapter(train, validation, progress)
        return learn(self, self.loss, train, validation, self.training, self.seed, device, progress)

    def _fit_adapter(
        self, train: RetrievalDataset, validation: RetrievalDataset, progress: Progress
    ) -> None:
        """Train the adapter on plain features, which are cached, so this takes seconds."""
        adapter, backbone = self.learner.adapter, self.backbone
        alone = TrainedMethod(
            backbone,
            adapter,
            self.training.changed(
                {"epochs": self.config.adapter_epochs, "eval_every": 0, "patience": 0}
            ),
            self.seed,
            encode_text=lambda captions: Features(adapter(self.plain(captions).pooled)),
            loss=lambda batch: self._category_loss(
                batch, backbone.encode_image(batch.images).pooled
            ),
        )
        with resumable(None):  # only the joint training is resumable
            alone.fit(
                train,
                validation,
                lambda stage, done, total: progress(f"adapter alone: {stage}", done, total),
            )

    def draw_from(self, train: RetrievalDataset) -> None:
        """Let the category-aware loss draw negatives and extra candidates from these rows."""
        self.negatives = TrainingNegatives(train, self.seed)
        number = self.config.n_further if self.config.category_candidates == "train" else 0
        self.extra = ExtraCandidates(train, self.seed, number)

    def loss(self, batch: Batch) -> Tensor:
        """Return the contrastive loss of the prompted features plus the category-aware loss."""
        config, prompts = self.config, self.learner.prompts()
        if config.beta:
            images, compared = self.encode_compared(batch.images, prompts)
            plain = self.plain(batch.captions, tokens=True)
            weights = self.weights(batch.captions, plain, compared, self.blank())
            prediction = self._prediction_loss(plain, weights)
        else:
            images = self.backbone.encode_image(batch.images, prompts).pooled
            weights, prediction = None, images.new_zeros(())
        texts = self.backbone.encode_text(
            batch.captions, Prompts(text=prompts.text, word_weights=weights)
        ).pooled
        logits = self.backbone.logit_scale * images @ texts.T
        loss = info_nce(logits, repeats=batch.repeats) + prediction
        if config.lambda_cate:
            loss = loss + config.lambda_cate * self._category_loss(batch, images)
        return loss

    def encode_image(self, images: AnyImages) -> Features:
        """Return features of B images; with `rerank` also what their token weights are computed from."""
        if self.config.test_weights != "rerank":
            return self.backbone.encode_image(images, self.learner.prompts())
        pooled, compared = self.encode_compared(images, self.learner.prompts())
        return Features(pooled, compared if compared.dim() == 3 else compared[:, None])

    def encode_text(self, captions: Sequence[str]) -> Features:
        """Return features of B captions, from the captions only; with `rerank` also the captions."""
        pooled = self.features(captions, self._weights_without_image(captions))
        if self.config.test_weights != "rerank":
            return Features(pooled)
        return Features(pooled, token_ids=encode_captions(captions).to(pooled.device))

    def features(self, captions: Sequence[str], weights: Tensor | None) -> Tensor:
        """Return (B, d) scored features of B captions under token weights (B, T)."""
        prompts = Prompts(text=self.learner.prompts().text, word_weights=weights)
        pooled = self.backbone.encode_text(captions, prompts).pooled
        if self.config.gamma:
            adapted = self.learner.adapter(self.plain(captions).pooled)
            pooled = normalize(pooled + self.config.gamma * adapted, dim=-1)
        return pooled

    def compared(self, images: AnyImages) -> Tensor:
        """Return what the token weights of B images are computed from, (B, d) or (B, P, d)."""
        return self.encode_compared(images, self.learner.prompts())[1]

    def encode_paired(self, captions: Sequence[str], compared: Tensor) -> Tensor:
        """Return (n, d) features of n captions, each under the token weights of its own image."""
        number = {caption: place for place, caption in enumerate(dict.fromkeys(captions))}
        where = torch.tensor([number[caption] for caption in captions], device=compared.device)
        plain = self.plain(list(number), tokens=True)[where]
        return self.features(captions, self.weights(captions, plain, compared, self.blank()))

    @torch.no_grad()
    def blank(self) -> Tensor:
        """Return (d) or (P, d) of the blank image, as `encode_compared` does for other images."""
        prompted = self.config.weight_image == "prompted"
        prompts = self.learner.prompts() if prompted else Prompts()
        patches = self.config.weight_look != "global"
        found = self.backbone.encode_image([self._blank], prompts, tokens=patches)
        return (found.pooled if found.tokens is None else found.tokens)[0]

    @torch.no_grad()
    def plain(self, captions: Sequence[str], *, tokens: bool = False) -> Features:
        """Return features of the plain text tower, truncated where the prompted tower truncates."""
        slots = self.config.n_ctx if self.config.depth else 0
        return self.backbone.encode_text(captions, tokens=tokens, reserve=slots)

    def encode_compared(self, images: AnyImages, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """Return (B, d) prompted features, and detached what token weights are computed from."""
        patches = self.config.weight_look != "global"
        prompted = self.config.weight_image == "prompted"
        found = self.backbone.encode_image(images, prompts, tokens=patches and prompted)
        compared = found
        if not prompted:
            with torch.no_grad():
                compared = self.backbone.encode_image(images, tokens=patches)
        own = compared.pooled if compared.tokens is None else compared.tokens
        return found.pooled, own.detach()

    def weights(
        self, captions: Sequence[str], plain: Features, images: Tensor, blank: Tensor
    ) -> Tensor:
        """Return (B, T) weights of the captions' tokens under one image each, without gradient."""
        config = self.config
        assert plain.valid is not None
        assert plain.words is not None
        isolated = config.weight_token == "isolated"
        tokens = self._words.of(captions, plain.words) if isolated else plain.tokens
        assert tokens is not None
        change = similarity_change(tokens, images, blank, config.weight_look)
        if config.weight_unit == "word":
            change = by_word(change, plain.words)
        return token_weights(
            change,
            plain.valid,
            beta=config.beta,
            sign=config.weight_sign,
            normalization=config.weight_norm,
        )

    def _prediction_loss(self, plain: Features, weights: Tensor) -> Tensor:
        """Return the loss of weights predicted without an image; it sends no gradient to the prompts."""
        if self.config.test_weights == "token_mean":
            self.learner.update_mean_weights(plain, weights)
        elif self.config.test_weights == "predictor":
            return mse_loss(self.learner.predicted_weights(plain), weights)
        return weights.new_zeros(())

    def _weights_without_image(self, captions: Sequence[str]) -> Tensor | None:
        if self.config.test_weights == "token_mean":
            return self.learner.mean_weights(self.plain(captions, tokens=True))
        if self.config.test_weights == "predictor":
            return self.learner.predicted_weights(self.plain(captions, tokens=True))
        return None

    def _category_loss(self, batch: Batch, images: Tensor) -> Tensor:
        """Return the category-aware loss over plain caption features through the adapter."""
        config = self.config
        assert self.negatives is not None, "call draw_from first"
        assert self.extra is not None, "call draw_from first"
        drawn = [
            self.negatives.draw(row, batch.epoch, config.n_negatives, config.n_attribute)
            for row in batch.rows.tolist()
        ]
        swapped = [negative.caption for row in drawn for negative in row]
        extra = self.extra.draw(batch)
        texts = [*batch.captions, *swapped, *extra.captions]
        sizes = len(drawn), len(swapped), len(extra.captions)
        positives, others, more = self.learner.adapter(self.plain(texts).pooled).split(sizes)

        rows = [*batch.rows.tolist(), *extra.rows.tolist()]
        # Rows without a category share it with no other row.
        names = [self.negatives.category(row) or f"row {row}" for row in rows]
        number = {name: place for place, name in enumerate(sorted(set(names)))}
        named = torch.tensor([number[name] for name in names], device=images.device)
        present = torch.zeros(len(drawn), config.n_negatives, dtype=torch.bool)
        category = torch.full(present.shape, -1)
        for place, row in enumerate(drawn):
            present[place, : len(row)] = True
            for slot, negative in enumerate(row):
                category[place, slot] = number.get(negative.category or names[place], -1)
        present, category = present.to(images.device), category.to(images.device)
        negatives = positives.new_zeros(*present.shape, positives.shape[-1])
        negatives[present] = others
        wrong = torch.from_numpy(extra.wrong).to(images.device)
        return category_aware_loss(
            images,
            positives,
            negatives,
            present,
            named[: len(drawn)],
            category,
            scale=self.backbone.logit_scale,
            alpha=config.alpha,
            mode=config.category_mode,
            candidates=config.category_candidates,
            symmetric=config.category_symmetric,
            extra=ExtraTexts(more, named[len(drawn) :], wrong),
        )


@method(
    "dcar",
    VARIANTS,
    options=DCARConfig,
    needs=Needs(frozenset({PROMPTS}), unless={"depth": 0, "beta": 0.0}),
)
def dcar(
    backbone: Backbone,
    *,
    train: TrainConfig = TrainConfig(optimiser="adamw", learning_rate=0.001, batch_size=64),
    seed: int = 0,
    **options: Any,
) -> DCAR:
    """Train coupled prompts with token weights and a category-aware loss (arXiv 2508.04028).

    Args:
        backbone: stays frozen.
        train: training settings.
        seed: of initial values, order of the rows, and negatives.
        options: see `DCARConfig`.
    """
    config = DCARConfig(**options)
    if config.depth < 0:
        config = replace(config, depth=at_most(backbone, DEPTH[config.preset]))
    prompts = CoupledPrompts(
        backbone, config.n_ctx, config.ctx_init, config.depth, config.coupling, seed
    )
    adapter = Adapter(
        backbone.dim, config.adapter, config.adapter_reduction, config.adapter_ratio, seed
    )
    learner = Learner(
        prompts,
        adapter,
        vocabulary=backbone.vocabulary_size if config.test_weights == "token_mean" else 0,
        width=backbone.dim if config.test_weights == "predictor" else 0,
        seed=seed,
    )
    return DCAR(backbone, learner, config, train, seed)
