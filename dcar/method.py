"""DCAR: prompts in both towers, token weights against a blank image, a category-aware loss.

After figure 2 of arXiv 2508.04028. The body of the paper has not been read by us; `dcar/README.md` says how well
each part is supported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    learn,
    method,
    silent,
)
from benchmark.evaluation.caption_tokens import encode_captions
from benchmark.models.backbone import PROMPTS
from benchmark.registry import Needs
from benchmark.training.losses import contrastive_loss
from benchmark.training.prompt_learners import at_most
from benchmark.training.resumable import resumable
from benchmark.training.trained_method import cosine
from dcar.ablation import VARIANTS
from dcar.blank import blank_image
from dcar.candidates import CandidateCaptions
from dcar.category_loss import CandidateTexts, category_aware_loss
from dcar.learner import Learner
from dcar.options import DCARConfig
from dcar.pair_scores import pair_scores
from dcar.presets import MAPLE_DEPTH
from dcar.reranking import scoring
from dcar.token_weights import by_word, similarity_change, token_weights
from dcar.words import WordFeatures
from fdrd.dataset import RetrievalDataset


class DCAR:
    """A frozen backbone with coupled prompts and an adapter.

    A caption has two features: one from the prompted tower, and one from the plain tower through the
    adapter. So has an image with `plain_image`; its plain feature passes through an adapter in `dcar_plus`. The
    score is the cosine of the prompted features plus gamma times that of the adapted ones, over 1 + gamma.
    Without `plain_image` both captions' features are compared with the prompted image.

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
        self.scoring = scoring(
            self,
            config.test_weights,
            by_patch=config.weight_look != "global",
            shortlist=config.shortlist,
            pair_limit=config.pair_limit,
        )
        self._blank = blank_image(config.blank)
        self._words = WordFeatures(backbone)
        self.candidates: CandidateCaptions | None = None
        """of the training rows, once `draw_from` has been called"""

    def fit(
        self, train: RetrievalDataset, validation: RetrievalDataset, progress: Progress = silent
    ) -> FitLog:
        """Train the adapters alone, then prompts and adapters together."""
        config, device = self.config, self.backbone.device
        if config.lambda_cate:
            self.draw_from(train)
        alone = None
        if config.adapter_epochs and self._trains_adapters():
            alone = self._fit_adapters(train, validation, progress)
        return learn(
            self, self.loss, train, validation, self.training, self.seed, device, progress, alone
        )

    def _trains_adapters(self) -> bool:
        """Return whether a loss depends on the adapters."""
        config = self.config
        used = config.lambda_cate > 0 or (config.contrast == "fused" and config.gamma > 0)
        return used and self.learner.adapter.form != "identity"

    def _fit_adapters(
        self, train: RetrievalDataset, validation: RetrievalDataset, progress: Progress
    ) -> FitLog:
        """Train the adapters without prompts, on plain features, which are cached: this takes seconds."""
        alone = DCAR(
            self.backbone,
            self.learner.without_prompts(self.backbone),
            replace(
                self.config,
                depth=0,
                beta=0.0,
                pair_weight=0.0,
                test_weights="none",
                train_weights="paired",
            ),
            self.training.changed(
                {
                    "epochs": self.config.adapter_epochs,
                    "batch_size": self.config.adapter_batch or self.training.batch_size,
                    "eval_every": 0,
                    "patience": 0,
                }
            ),
            self.seed,
        )
        alone.candidates = self.candidates
        with resumable(None):  # only the joint training is resumable
            return learn(
                alone,
                alone.loss,
                train,
                validation,
                alone.training,
                self.seed,
                self.backbone.device,
                lambda stage, done, total: progress(f"adapter alone: {stage}", done, total),
            )

    def draw_from(self, train: RetrievalDataset) -> None:
        """Let the category-aware loss draw candidates from these rows."""
        config = self.config
        self.candidates = CandidateCaptions(
            train,
            self.seed,
            kind=config.category_candidates,
            n_negatives=config.n_negatives,
            n_attribute=config.n_attribute,
            n_further=config.n_further,
        )

    def loss(self, batch: Batch) -> Tensor:
        """Return the contrastive loss, plus the category-aware loss."""
        self.learner.enter()
        config, prompts = self.config, self.learner.entered_prompts()
        prediction = torch.zeros((), device=self.backbone.device)
        weights = compared = None
        rescored = config.train_weights == "as_tested" and config.test_weights == "rerank"
        if config.beta:
            prompted, compared = self.encode_compared(batch.images, prompts)
            plain = self.plain(batch.captions, tokens=True)
            weights = self.weights(batch.captions, plain, compared, self.blank())
            prediction = self._prediction_loss(plain, weights)
            if config.train_weights == "as_tested":
                weights = self._weights_without_image(batch.captions)
        else:
            prompted = self.backbone.encode_image(batch.images, prompts).pooled
        images, adapted = self._image_features(batch.images, prompted)
        if config.contrast == "fused":
            similarity = self.similarity(Features(images), self.features(batch.captions, weights))
            if rescored and compared is not None:
                similarity = self._rescored(similarity, batch.captions, images, compared)
        else:
            seen = prompted if self._has_two_paths() else images
            similarity = seen @ self._prompted(batch.captions, weights).T
        logits = self.backbone.logit_scale * similarity
        bias = self.backbone.logit_bias
        loss = contrastive_loss(logits, config.loss, batch.repeats, bias) + prediction
        if config.lambda_cate:
            loss = loss + config.lambda_cate * self._category_loss(batch, adapted)
        return loss

    def _rescored(
        self, similarity: Tensor, captions: Sequence[str], images: Tensor, compared: Tensor
    ) -> Tensor:
        """Return (B, B) similarities, those of right pairs and of shortlists under the weights of their images.

        A pair is encoded from its own image and caption only, whether it is right or wrong, as at test time.
        """
        size = min(self.config.shortlist, len(captions))
        listed = torch.eye(len(captions), dtype=torch.bool, device=similarity.device)
        for dim in (0, 1):
            best = similarity.detach().topk(size, dim=dim).indices
            listed = listed.scatter(dim, best, True)
        image, caption = listed.nonzero(as_tuple=True)
        texts = self.encode_paired([captions[n] for n in caption.tolist()], compared[image])
        return similarity.index_put((image, caption), (images[image] * texts).sum(dim=1))

    def encode_image(self, images: AnyImages) -> Features:
        """Return features of B images; with `rerank` also what their token weights are computed from."""
        prompts = self.learner.entered_prompts()
        if self.config.test_weights != "rerank":
            prompted = self.backbone.encode_image(images, prompts).pooled
            return Features(self._image_features(images, prompted)[0])
        prompted, compared = self.encode_compared(images, prompts)
        pooled = self._image_features(images, prompted)[0]
        return Features(pooled, compared if compared.dim() == 3 else compared[:, None])

    def encode_text(self, captions: Sequence[str]) -> Features:
        """Return features of B captions, from the captions only; with `rerank` also the captions."""
        found = self.features(captions, self._weights_without_image(captions))
        if self.config.test_weights != "rerank":
            return found
        return replace(found, token_ids=encode_captions(captions).to(found.pooled.device))

    def features(self, captions: Sequence[str], weights: Tensor | None) -> Features:
        """Return scored features of B captions under token weights (B, T).

        With `pair_weight` they have the adapted token features (B, T, d), too.
        """
        config = self.config
        if not config.gamma and not config.pair_weight:
            return Features(self._prompted(captions, weights))
        plain = self.plain(captions, tokens=config.pair_weight > 0)
        adapted = self.learner.adapter(plain.pooled)
        if self._has_two_paths():
            pooled = self._joined(self._prompted(captions, weights), adapted)
        elif config.plain_image and config.gamma:
            pooled = adapted  # no prompts, or not yet
        else:
            gamma = self.learner.scored_share(config.gamma)
            pooled = normalize(self._prompted(captions, weights) + gamma * adapted, dim=-1)
        if plain.tokens is None:
            return Features(pooled)
        return Features(pooled, self.learner.adapter(plain.tokens), plain.valid)

    def _has_two_paths(self) -> bool:
        """Return whether images have prompted and plain features, each compared with its own of captions."""
        config = self.config
        entered = self.learner.entered is None or bool(self.learner.entered)
        return config.plain_image and config.gamma > 0 and config.depth > 0 and entered

    def _joined(self, prompted: Tensor, adapted: Tensor) -> Tensor:
        """Return (B, 2d) unit features, whose cosines are (c + gamma c') / (1 + gamma) of those of the parts."""
        gamma = torch.as_tensor(self.learner.scored_share(self.config.gamma), device=adapted.device)
        return normalize(torch.cat([prompted, gamma.sqrt() * adapted], dim=1), dim=-1)

    def _image_features(self, images: AnyImages, prompted: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is scored of B images, and the (B, d) that adapted captions are compared with."""
        if not self._has_two_paths():
            adapted = self.learner.adapted_image(prompted)
            return adapted, adapted
        with torch.no_grad():
            plain = self.backbone.encode_image(images).pooled
        adapted = self.learner.adapted_image(plain)
        return self._joined(prompted, adapted), adapted

    def similarity(self, images: Features, texts: Features) -> Tensor:
        """Return (I, C) cosines, plus `pair_weight` times the scores of pairs under their token weights."""
        config, scores = self.config, cosine(images, texts)
        if not config.pair_weight:
            return scores
        assert texts.tokens is not None
        assert texts.valid is not None
        dim = texts.tokens.shape[-1]
        return scores + config.pair_weight * pair_scores(
            _last_part(images.pooled, dim),
            _last_part(self._scored_blank(), dim),
            texts.tokens,
            texts.valid,
            sign=config.weight_sign,
            normalization=config.weight_norm,
        )

    @torch.no_grad()
    def _scored_blank(self) -> Tensor:
        """Return (d), the scored feature of the blank image."""
        return self.encode_image([self._blank]).pooled[0]

    def compared(self, images: AnyImages) -> Tensor:
        """Return what the token weights of B images are computed from, (B, d) or (B, P, d)."""
        return self.encode_compared(images, self.learner.entered_prompts())[1]

    def encode_paired(self, captions: Sequence[str], compared: Tensor) -> Tensor:
        """Return (n, d) features of n captions, each under the token weights of its own image."""
        number = {caption: place for place, caption in enumerate(dict.fromkeys(captions))}
        where = torch.tensor([number[caption] for caption in captions], device=compared.device)
        plain = self.plain(list(number), tokens=True)[where]
        weights = self.weights(captions, plain, compared, self.blank())
        return self.features(captions, weights).pooled

    def _prompted(self, captions: Sequence[str], weights: Tensor | None) -> Tensor:
        """Return (B, d) features of captions from the prompted text tower."""
        text, place = self.learner.entered_prompts().text, self.config.weight_place
        prompts = Prompts(text=text, word_weights=weights, weight_place=place)
        return self.backbone.encode_text(captions, prompts).pooled

    @torch.no_grad()
    def blank(self) -> Tensor:
        """Return (d) or (P, d) of the blank image, as `encode_compared` does for other images."""
        prompted = self.config.weight_image == "prompted"
        prompts = self.learner.entered_prompts() if prompted else Prompts()
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
            return self.learner.predicted_weights(self.plain(captions, tokens=True)).detach()
        return None

    def _category_loss(self, batch: Batch, images: Tensor) -> Tensor:
        """Return the category-aware loss over plain caption features through the adapter."""
        config = self.config
        assert self.candidates is not None, "call draw_from first"
        drawn = self.candidates.draw(batch)
        return category_aware_loss(
            images,
            CandidateTexts(
                self.learner.adapter(self.plain(drawn.captions).pooled),
                torch.from_numpy(drawn.category).to(images.device),
                torch.from_numpy(drawn.allowed).to(images.device),
            ),
            scale=self.backbone.logit_scale,
            alpha=config.alpha,
            mode=config.category_mode,
            epsilon=config.epsilon,
            symmetric=config.category_symmetric,
        )


def _last_part(features: Tensor, dim: int) -> Tensor:
    """Return what adapted captions are compared with: the last (..., dim) of joined features, of unit length."""
    return features if features.shape[-1] == dim else normalize(features[..., -dim:], dim=-1)


def _made(
    backbone: Backbone, options: Mapping[str, Any], train: TrainConfig, seed: int, *, plus: bool
) -> DCAR:
    config = DCARConfig.resolve(options)
    if config.depth < 0:
        config = replace(config, depth=at_most(backbone, MAPLE_DEPTH))
    prompts = CoupledPrompts(
        backbone, config.n_ctx, config.ctx_init, config.depth, config.coupling, seed
    )
    adapters = [
        Adapter(backbone.dim, config.adapter, config.adapter_reduction, config.adapter_ratio, each)
        for each in (seed, seed + 1)[: 1 + plus]
    ]
    learner = Learner(
        prompts,
        *adapters,
        gamma=config.gamma if config.learn_gamma else 0.0,
        late=config.late_prompts and config.test_weights == "none",
        vocabulary=backbone.vocabulary_size if config.test_weights == "token_mean" else 0,
        width=backbone.dim if config.test_weights == "predictor" else 0,
        seed=seed,
    )
    return DCAR(backbone, learner, config, train, seed)


TRAIN = TrainConfig(
    optimiser="adamw", learning_rate=0.005, adapter_learning_rate=0.001, batch_size=64
)

NEEDS = Needs(frozenset({PROMPTS}), unless={"depth": 0, "beta": 0.0})


@method("dcar", VARIANTS, options=DCARConfig, needs=NEEDS)
def dcar(backbone: Backbone, *, train: TrainConfig = TRAIN, seed: int = 0, **options: Any) -> DCAR:
    """Train coupled prompts with token weights and a category-aware loss (arXiv 2508.04028).

    Args:
        backbone: stays frozen.
        train: training settings.
        seed: of initial values, order of the rows, and negatives.
        options: see `DCARConfig`.
    """
    return _made(backbone, options, train, seed, plus=False)


@method("dcar_plus", options=DCARConfig, needs=NEEDS)
def dcar_plus(
    backbone: Backbone, *, train: TrainConfig = TRAIN, seed: int = 0, **options: Any
) -> DCAR:
    """Train DCAR with an adapter on the image side, too, which figure 2 of arXiv 2508.04028 does not show.

    Args:
        backbone: stays frozen.
        train: training settings.
        seed: of initial values, order of the rows, and negatives.
        options: see `DCARConfig`.
    """
    return _made(backbone, options, train, seed, plus=True)
