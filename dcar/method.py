"""DCAR: prompts in both towers, token weights against a blank image, a category-aware loss.

After figure 2 of arXiv 2508.04028; `dcar/README.md` says of each part how sure it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, normalize

from benchmark import (
    Adapter,
    AdapterForm,
    AnyImages,
    Backbone,
    Batch,
    CoupledPrompts,
    Coupling,
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
from benchmark.evaluation.caption_tokens import written
from benchmark.evaluation.scoring import Scoring
from benchmark.training.prompt_learners import at_most
from benchmark.training.training_negatives import POOL
from dcar.ablation import VARIANTS
from dcar.adapter_alone import AdapterAlone
from dcar.blank import Blank, blank_image
from dcar.category_loss import Candidates, MoreTexts, WeightMode, category_aware_loss
from dcar.extra_candidates import FurtherCaptions
from dcar.learner import Learner
from dcar.reranking import scoring
from dcar.token_weights import (
    Look,
    Normalisation,
    Sign,
    by_word,
    similarity_change,
    token_weights,
)
from dcar.words import WordFeatures
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError

Preset: TypeAlias = Literal["figure", "maple"]

TestWeights: TypeAlias = Literal["none", "token_mean", "predictor", "rerank", "leak_paired"]
"""Token weights at test time. The first three are of captions alone; for the others `with_image.py`."""

DEPTH: dict[Preset, int] = {"figure": 1, "maple": 9}
"""Layers with prompts, as far as the towers have them."""


@dataclass(frozen=True, slots=True)
class DCARConfig:
    """The options of `dcar` that its losses and features depend on; see there."""

    slots: int
    """context tokens in front of a caption: n_ctx, or 0 without prompts"""
    beta: float
    weight_sign: Sign
    weight_norm: Normalisation
    weight_look: Look
    weight_image: Literal["prompted", "frozen"]
    weight_unit: Literal["token", "word"]
    weight_token: Literal["contextual", "isolated"]
    blank: Blank
    test_weights: TestWeights
    n_negatives: int
    n_attribute: int
    lambda_cate: float
    alpha: float
    category_mode: WeightMode
    category_candidates: Candidates
    category_symmetric: bool
    n_further: int
    adapter_epochs: int
    gamma: float


class DCAR:
    """A frozen backbone with coupled prompts and an adapter; options as in `dcar`.

    A caption has two features: that of the prompted tower, and that of the plain tower through the
    adapter. What is scored is the first plus gamma times the second, at unit length.
    """

    trains: Literal["prompts"] = "prompts"

    def __init__(
        self,
        backbone: Backbone,
        learner: Learner,
        config: DCARConfig,
        train: TrainConfig,
        seed: int = 0,
        scoring: Callable[[DCAR], Scoring] = lambda _: Scoring(),
    ):
        self.backbone = backbone
        self.learner = learner.to(backbone.device)
        self.config = config
        self.training = train
        self.seed = seed
        self.scoring = scoring(self)
        self._blank = blank_image(config.blank)
        self._words = WordFeatures(backbone)
        self.negatives: TrainingNegatives | None = None
        """of the rows that it learns from, while the category-aware loss wants them"""
        self.further: FurtherCaptions | None = None
        """captions of those rows; none unless it wants them"""

    def fit(
        self, train: RetrievalDataset, validation: RetrievalDataset, progress: Progress = silent
    ) -> FitLog:
        """Learn the prompts and the adapter."""
        if self.config.lambda_cate:
            self.draw_from(train)
            if self.config.adapter_epochs and self.learner.adapter.form != "identity":
                AdapterAlone(
                    self.backbone,
                    self.learner.adapter,
                    self.plain,
                    self._category_loss,
                    replace(self.training, epochs=self.config.adapter_epochs, patience=0),
                    self.seed,
                ).fit(train, validation, progress)
        device = self.backbone.device
        return learn(self, self.loss, train, validation, self.training, self.seed, device, progress)

    def draw_from(self, train: RetrievalDataset) -> None:
        """Let the category-aware loss draw from these rows."""
        self.negatives = TrainingNegatives(train, self.seed)
        number = self.config.n_further if self.config.category_candidates == "train" else 0
        self.further = FurtherCaptions(train, self.seed, number)

    def loss(self, batch: Batch) -> Tensor:
        """The contrastive loss of the prompted features plus the category-aware loss."""
        config, prompts = self.config, self.learner.prompts()
        if config.beta:
            images, compared = self.look(batch.images, prompts)
            plain = self.plain(batch.captions, tokens=True)
            weights = self.weights(batch.captions, plain, compared, self.blank())
            foretelling = self._foretelling_loss(plain, weights)
        else:
            images = self.backbone.encode_image(batch.images, prompts).pooled
            weights, foretelling = None, images.new_zeros(())
        texts = self.backbone.encode_text(
            batch.captions, Prompts(text=prompts.text, word_weights=weights)
        ).pooled
        loss = info_nce((self.backbone.logit_scale * images @ texts.T).float()) + foretelling
        if config.lambda_cate:
            loss = loss + config.lambda_cate * self._category_loss(batch, images)
        return loss

    def encode_image(self, images: AnyImages) -> Features:
        """Features of B images under the current prompts; for `rerank`, what weights are made of, too."""
        if self.config.test_weights != "rerank":
            return self.backbone.encode_image(images, self.learner.prompts())
        seen, compared = self.look(images, self.learner.prompts())
        return Features(seen, compared if compared.dim() == 3 else compared[:, None])

    def encode_text(self, captions: Sequence[str]) -> Features:
        """Features of B captions, from the captions alone; for `rerank`, the captions, too."""
        pooled = self.features(captions, self._weights_without_image(captions))
        if self.config.test_weights != "rerank":
            return Features(pooled)
        return Features(pooled, token_ids=written(captions).to(pooled.device))

    def features(self, captions: Sequence[str], weights: Tensor | None) -> Tensor:
        """(B, d) what is scored of B captions under some token weights (B, T)."""
        prompts = Prompts(text=self.learner.prompts().text, word_weights=weights)
        pooled = self.backbone.encode_text(captions, prompts).pooled
        if self.config.gamma:
            adapted = self.learner.adapter(self.plain(captions).pooled)
            pooled = normalize(pooled + self.config.gamma * adapted, dim=-1)
        return pooled

    def similarity(self, images: Features, texts: Features) -> Tensor:
        """(I, C) cosines."""
        return images.pooled @ texts.pooled.T

    @torch.no_grad()
    def blank(self) -> Tensor:
        """(d) or (P, d) of the blank image, what `look` gives of the others."""
        prompted = self.config.weight_image == "prompted"
        prompts = self.learner.prompts() if prompted else Prompts()
        patches = self.config.weight_look != "global"
        seen = self.backbone.encode_image([self._blank], prompts, tokens=patches)
        return (seen.pooled if seen.tokens is None else seen.tokens)[0]

    @torch.no_grad()
    def plain(self, captions: Sequence[str], *, tokens: bool = False) -> Features:
        """Features of the plain text tower, of captions cut where the prompted one cuts them."""
        return self.backbone.encode_text(captions, tokens=tokens, reserve=self.config.slots)

    def look(self, images: AnyImages, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """(B, d) prompted features; then, without gradient, what token weights are made of."""
        patches = self.config.weight_look != "global"
        prompted = self.config.weight_image == "prompted"
        seen = self.backbone.encode_image(images, prompts, tokens=patches and prompted)
        compared = seen
        if not prompted:
            with torch.no_grad():
                compared = self.backbone.encode_image(images, tokens=patches)
        own = compared.pooled if compared.tokens is None else compared.tokens
        return seen.pooled, own.detach()

    def weights(
        self, captions: Sequence[str], plain: Features, images: Tensor, blank: Tensor
    ) -> Tensor:
        """(B, T) weights of the captions' tokens under an image each, without gradient."""
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
            normalisation=config.weight_norm,
        )

    def _foretelling_loss(self, plain: Features, weights: Tensor) -> Tensor:
        """What the weights without an image learn from; no gradient of it reaches the prompts."""
        if self.config.test_weights == "token_mean":
            self.learner.remember(plain, weights)
        elif self.config.test_weights == "predictor":
            return mse_loss(self.learner.foretold(plain), weights)
        return weights.new_zeros(())

    def _weights_without_image(self, captions: Sequence[str]) -> Tensor | None:
        if self.config.test_weights == "token_mean":
            return self.learner.remembered(self.plain(captions, tokens=True))
        if self.config.test_weights == "predictor":
            return self.learner.foretold(self.plain(captions, tokens=True))
        return None

    def _category_loss(self, batch: Batch, images: Tensor) -> Tensor:
        """The category-aware loss over the plain features of captions, through the adapter."""
        config = self.config
        assert self.negatives is not None, "fit makes them"
        assert self.further is not None, "fit makes them"
        drawn = [
            self.negatives.draw(row, batch.epoch, config.n_negatives, config.n_attribute)
            for row in batch.rows.tolist()
        ]
        swapped = [each.caption for row in drawn for each in row]
        further = self.further.draw(batch)
        texts = [*batch.captions, *swapped, *further.captions]
        sizes = len(drawn), len(swapped), len(further.captions)
        positives, others, more = self.learner.adapter(self.plain(texts).pooled).split(sizes)

        rows = [*batch.rows.tolist(), *further.rows.tolist()]
        names = [self.negatives.category(row) for row in rows]
        number = {name: place for place, name in enumerate(sorted(set(names)))}
        named = torch.tensor([number[name] for name in names], device=images.device)
        present = torch.zeros(len(drawn), config.n_negatives, dtype=torch.bool)
        category = torch.full(present.shape, -1)
        for place, row in enumerate(drawn):
            present[place, : len(row)] = True
            for slot, negative in enumerate(row):
                category[place, slot] = number.get(negative.category, -1)
        present, category = present.to(images.device), category.to(images.device)
        negatives = positives.new_zeros(*present.shape, positives.shape[-1])
        negatives[present] = others
        wrong = torch.from_numpy(further.wrong).to(images.device)
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
            more=MoreTexts(more, named[len(drawn) :], wrong),
        )


@method("dcar", VARIANTS)
def dcar(
    backbone: Backbone,
    *,
    preset: Preset = "maple",
    n_ctx: int = 4,
    depth: int = -1,
    ctx_init: str = "",
    coupling: Coupling = "linear",
    beta: float = 0.5,
    weight_sign: Sign = "abs",
    weight_norm: Normalisation = "mean1",
    weight_look: Look = "global",
    weight_image: Literal["prompted", "frozen"] = "prompted",
    weight_unit: Literal["token", "word"] = "token",
    weight_token: Literal["contextual", "isolated"] = "contextual",
    blank: Blank = "white",
    test_weights: TestWeights = "none",
    shortlist: int = 20,
    pair_limit: int = 200_000,
    n_negatives: int = 4,
    n_attribute: int = 0,
    lambda_cate: float = 1.0,
    alpha: float = 0.5,
    category_mode: WeightMode = "log_add",
    category_candidates: Candidates = "train",
    category_symmetric: bool = True,
    n_further: int = 1024,
    adapter: AdapterForm = "residual",
    adapter_reduction: int = 1,
    adapter_ratio: float = 1.0,
    adapter_epochs: int = 20,
    gamma: float = 4.0,
    train: TrainConfig = TrainConfig(optimiser="adamw", learning_rate=0.001, batch_size=64),
    seed: int = 0,
) -> DCAR:
    """Coupled prompts, token weights and a category-aware loss (arXiv 2508.04028).

    The paper has no code and leaves much open. `sure`, `likely` and `open` say how well each option
    is founded in its figure 2 and abstract.

    Args:
        backbone: stays frozen.
        preset: depth 1 as the figure draws it, or 9 as the code that it descends from (open).
        n_ctx: context tokens, and visual tokens, per layer (open).
        depth: layers of both towers with prompts, at most what they have; -1 as the preset says.
        ctx_init: words whose first n_ctx tokens the first layer starts from; else random (open).
        coupling: from context tokens to visual tokens (likely linear).
        beta: strength of the token weights in training; 0 for none (open).
        weight_sign: the figure prints an absolute value (sure).
        weight_norm: how changes of similarity become weights (open; `raw` is the figure's).
        weight_look: what of the image a token is compared with (likely global).
        weight_image: from the prompted image tower, or from the plain one (likely prompted).
        weight_unit: one weight for each token, or one for all pieces of a word (open).
        weight_token: a token's feature within its caption, or that of its word alone (open).
        blank: the image without content (likely white).
        test_weights: weights of a caption at test time, none or from the caption alone; `rerank` reads the
            shortlist of each query again under each image at hand; `leak_paired` reads captions under
            their own images, which leaks the answer, and its results say so (open).
        shortlist: items of each query that `rerank` reads again.
        pair_limit: pairs that `rerank` may read before the run is refused.
        n_negatives: hard negatives per caption and epoch, at most 16 (open).
        n_attribute: how many of them swap an attribute, the others the category (open).
        lambda_cate: weight of the category-aware loss (the figure adds it plainly: likely 1).
        alpha: extra weight of captions of the image's own category (open).
        category_mode: how that weight enters (open).
        category_candidates: which captions an image chooses from: its own and its negatives, as drawn;
            those of the batch; or also n_further others of the training split (open).
        category_symmetric: captions choose among the images of the batch, too (open).
        n_further: how many; their plain features are cached (open).
        adapter: the trained box behind the plain text tower (likely a bottleneck).
        adapter_reduction: d / reduction is the width of the bottleneck.
        adapter_ratio: share of what the adapter learned (open).
        adapter_epochs: that it learns alone first, on cached plain features, in seconds (open).
        gamma: share of the adapted feature in what is scored; 0 scores the prompted one alone (open).
        train: the training.
        seed: of initial values, order of the rows, and negatives.
    """
    for name, value, least in (
        ("n_negatives", n_negatives, 0),
        ("n_attribute", n_attribute, 0),
        ("n_further", n_further, 0),
        ("adapter_epochs", adapter_epochs, 0),
        ("shortlist", shortlist, 1),
    ):
        if value < least:
            raise FdrdError(f"{name}={value}: must be at least {least}")
    if n_negatives > POOL:
        raise FdrdError(f"n_negatives={n_negatives}: at most {POOL} are drawn for a caption")
    if n_attribute > n_negatives:
        raise FdrdError(
            f"n_attribute={n_attribute} of n_negatives={n_negatives}: raise n_negatives"
        )
    for name, amount in (("alpha", alpha), ("beta", beta), ("lambda_cate", lambda_cate)):
        if amount < 0:
            raise FdrdError(f"{name}={amount}: must be at least 0")
    if depth < 0:
        depth = at_most(backbone, DEPTH[preset])
    prompts = CoupledPrompts(backbone, n_ctx, ctx_init, depth, coupling, seed)
    box = Adapter(backbone.dim, adapter, adapter_reduction, adapter_ratio, seed)
    learner = Learner(
        prompts,
        box,
        backbone.vocabulary_size if test_weights == "token_mean" else 0,
        backbone.dim if test_weights == "predictor" else 0,
        seed,
    )
    config = DCARConfig(
        slots=n_ctx if depth else 0,
        beta=beta,
        weight_sign=weight_sign,
        weight_norm=weight_norm,
        weight_look=weight_look,
        weight_image=weight_image,
        weight_unit=weight_unit,
        weight_token=weight_token,
        blank=blank,
        test_weights=test_weights,
        n_negatives=n_negatives,
        n_attribute=n_attribute,
        lambda_cate=lambda_cate,
        alpha=alpha,
        category_mode=category_mode,
        category_candidates=category_candidates,
        category_symmetric=category_symmetric,
        n_further=n_further,
        adapter_epochs=adapter_epochs,
        gamma=gamma,
    )
    return DCAR(
        backbone, learner, config, train, seed, lambda made: scoring(made, shortlist, pair_limit)
    )
