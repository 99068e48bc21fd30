"""The options of DCAR: one dataclass that the command line, the losses and the features share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from benchmark import AdapterForm, Coupling, PairLoss
from benchmark.models.backbone import WeightPlace
from benchmark.training.training_negatives import POOL
from dcar.blank import Blank
from dcar.candidates import Candidates
from dcar.category_loss import WeightMode
from dcar.presets import PRESETS, Preset
from dcar.token_weights import Compared, Normalization, Sign
from fdrd.errors import FdrdError

TestWeights: TypeAlias = Literal["none", "token_mean", "predictor", "rerank", "leak_paired"]
"""Token weights at test time. The first three use the caption only; see `reranking.py` for the others."""

Contrast: TypeAlias = Literal["prompted", "fused"]
"""The captions' side of the contrastive loss: the prompted feature, as drawn, or the score of test time."""

_AT_LEAST = {
    "n_negatives": 0, "n_attribute": 0, "n_further": 0, "adapter_epochs": 0, "adapter_batch": 0, "shortlist": 1,
    "alpha": 0, "beta": 0, "lambda_cate": 0, "epsilon": 0, "gamma": 0, "pair_weight": 0,
}  # fmt: skip


@dataclass(frozen=True)
class DCARConfig:
    """Options of `dcar`.

    The paper has no code and leaves much open. `sure`, `likely` and `open` say how well each default is
    supported by its figure 2 and abstract.

    Attributes:
        preset: a group of options, under those that are given: `figure` is the figure as drawn, `maple`
            has the defaults of version 0.1.
        n_ctx: context tokens, and visual tokens, per layer (open).
        depth: layers of both towers with prompts; -1 is at most 9, as in MaPLe (open; drawn is 1).
        ctx_init: words whose first n_ctx tokens the first layer starts from; otherwise random (open).
        coupling: from context tokens to visual tokens (likely linear).
        beta: strength of the token weights in training; 0 for none (open).
        weight_sign: the figure prints an absolute value (sure).
        weight_norm: how similarity changes become weights (open; `raw` is the figure's).
        weight_look: the part of the image that a token is compared with (likely global).
        weight_image: from the prompted image tower, or from the plain one (likely prompted).
        weight_unit: one weight for each token, or one for all tokens of a word (open).
        weight_token: a token's feature within its caption, or that of its word alone (open).
        weight_place: weights scale the embeddings, as drawn, or their logarithm is added to the attention that
            tokens get in every layer, where no normalization cancels it (an extension of the figure).
        blank: the image without content (likely white).
        test_weights: weights of a caption at test time: none, or from the caption only; `rerank` encodes
            the shortlist of each query again for each image; `leak_paired` encodes captions with their
            own images, which leaks the answer, and its results say so (open).
        train_weights: a caption's weights in training are those of its own image, as drawn, or it is scored
            `as_tested`: under predicted weights, or with `rerank` a pass for each pair on a shortlist of the
            batch, right and wrong alike (an extension of the figure).
        shortlist: items of each query that `rerank` encodes again.
        pair_limit: pairs that `rerank` may encode before the run is refused.
        n_negatives: hard negatives per caption and epoch, at most 16 (open).
        n_attribute: how many of them swap an attribute; the others swap the category (open).
        contrast: the captions' side of the contrastive loss: the prompted feature, as drawn, or what is
            scored at test time (open).
        loss: the contrastive loss: symmetric, one direction, or the sigmoid loss of SigLIP; the category-aware
            loss stays a choice among candidates (open).
        lambda_cate: weight of the category-aware loss (the figure adds it without a factor: likely 1).
        alpha: extra weight of captions of the image's own category (open).
        category_mode: where that weight enters (open).
        epsilon: relevance that captions of the image's category share in mode `graded`; margin in mode
            `margin`.
        category_candidates: which captions an image chooses from: its own and its negatives, as in the
            figure; those of the batch; or also n_further others of the training split (open).
        category_symmetric: captions also choose among the images of the batch (open).
        n_further: extra candidate captions per batch; their plain features are cached (open).
        adapter: the trained box behind the plain text tower (likely a bottleneck).
        adapter_reduction: its hidden layer is this many times narrower than the joint space; 0.25 is four
            times wider.
        adapter_ratio: share of the adapter's learned part (open).
        adapter_epochs: epochs that it trains alone first, on cached plain features, in seconds (open).
        adapter_batch: rows per step of these epochs; 0 takes the batch size of the training.
        late_prompts: prompts enter with the first step that trains them, so that the untrained state, which may be
            the best, is the adapter without random prompts; not with other `test_weights` than none.
        gamma: weight of the adapted feature in the score; 0 scores the prompted feature alone (open).
        plain_image: adapted captions are compared with the plain image, and prompted ones with the prompted image;
            otherwise both with the prompted image, as drawn (an extension of the figure).
        learn_gamma: gamma is the initial value of a parameter; needs `contrast=fused`.
        pair_weight: share of the token similarities in the score, each pair under the token weights of its
            image; 0 for none (an extension of the figure).

    Raises:
        FdrdError: a value is out of range.
    """

    preset: Preset = "default"
    n_ctx: int = 4
    depth: int = -1
    ctx_init: str = ""
    coupling: Coupling = "linear"
    beta: float = 0.5
    weight_sign: Sign = "abs"
    weight_norm: Normalization = "mean1"
    weight_look: Compared = "global"
    weight_image: Literal["prompted", "frozen"] = "prompted"
    weight_unit: Literal["token", "word"] = "token"
    weight_token: Literal["contextual", "isolated"] = "contextual"
    weight_place: WeightPlace = "embedding"
    blank: Blank = "white"
    test_weights: TestWeights = "none"
    train_weights: Literal["paired", "as_tested"] = "paired"
    shortlist: int = 20
    pair_limit: int = 200_000
    n_negatives: int = 4
    n_attribute: int = 0
    contrast: Contrast = "fused"
    loss: PairLoss = "symmetric"
    lambda_cate: float = 1.0
    alpha: float = 0.5
    category_mode: WeightMode = "graded"
    epsilon: float = 0.2
    category_candidates: Candidates = "train"
    category_symmetric: bool = True
    n_further: int = 1024
    adapter: AdapterForm = "residual"
    adapter_reduction: float = 1.0
    adapter_ratio: float = 1.0
    adapter_epochs: int = 60
    adapter_batch: int = 256
    late_prompts: bool = True
    gamma: float = 4.0
    plain_image: bool = True
    learn_gamma: bool = False
    pair_weight: float = 0.0

    @classmethod
    def resolve(cls, given: Mapping[str, Any]) -> DCARConfig:
        """Return the options given, on top of those of the preset.

        >>> DCARConfig.resolve({"preset": "figure", "gamma": 1.0}).n_attribute
        2
        """
        preset: Preset = given.get("preset", cls.preset)
        return cls(**{**PRESETS[preset], **given})

    def __post_init__(self) -> None:
        for name, least in _AT_LEAST.items():
            if getattr(self, name) < least:
                raise FdrdError(f"{name}={getattr(self, name)}: must be at least {least}")
        if self.n_negatives > POOL:
            raise FdrdError(f"n_negatives={self.n_negatives}: at most {POOL} per caption")
        if self.n_attribute > self.n_negatives:
            raise FdrdError(
                f"n_attribute={self.n_attribute} of n_negatives={self.n_negatives}: raise n_negatives"
            )
        if self.learn_gamma and (self.contrast != "fused" or not self.gamma):
            raise FdrdError(
                "learn_gamma: no loss depends on gamma unless contrast=fused and gamma > 0"
            )
        if self.test_weights != "none" and self.plain_image and self.gamma and not self.depth:
            raise FdrdError(
                f"test_weights={self.test_weights}: without prompts the adapted caption alone is scored, which has "
                f"no token weights; give plain_image=no"
            )
        if self.train_weights == "as_tested":
            if self.test_weights in ("none", "leak_paired"):
                raise FdrdError(
                    f"train_weights=as_tested: test_weights={self.test_weights} has no weights from a "
                    f"caption or from every pair; choose token_mean, predictor or rerank"
                )
            if self.test_weights == "rerank" and self.contrast != "fused":
                raise FdrdError(
                    "train_weights=as_tested with rerank scores pairs: give contrast=fused"
                )
        if self.pair_weight and self.test_weights in ("rerank", "leak_paired"):
            raise FdrdError(
                f"test_weights={self.test_weights} encodes captions again for each image; "
                f"give pair_weight=0"
            )
