"""DCAR beyond its figure: several layers, joined in closed form, and contrasted within categories.

The box of figure 2 maps the plain text features. Here linear maps of each side read the joint space and means of
layers. They start from canonical correlation analysis with the joint space as its prior
(`benchmark.training.closed_form`), and are trained from there for a few steps in batches of a few categories, with the
category-aware loss if `lambda_cate` is above 0. The frozen joint space stays beside them in the score. There are no
prompts: beside such maps they brought what a second map brings. `dcar/README.md` has the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from benchmark import (
    AnyImages,
    Batch,
    Encoder,
    Features,
    FitLog,
    Images,
    TrainConfig,
    TrainContext,
    learn,
    method,
)
from benchmark.models.backbone import LAYERS
from benchmark.models.encoder_options import JOINT
from benchmark.models.layers import BlockEncoder
from benchmark.registry import QUIET, Needs
from benchmark.training.closed_form import (
    Maps,
    Side,
    candidates,
    covariances,
    encoded,
    exact,
)
from benchmark.training.loop import repeats_of
from benchmark.training.losses import contrastive_loss, info_nce
from benchmark.training.row_selection import thinned
from benchmark.training.trained_method import TrainedMethod, cosine, side_by_side
from dcar.candidates import CandidateCaptions
from dcar.category_loss import category_aware_loss
from dcar.options import NEGATIVES
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError
from fdrd.progress import Progress, silent

GAMMAS = (1.0, 4.0, 16.0)
"""Weights of the mapped features to choose from; that of the joint space is 1."""

PRIORS = (0.3, 1.0)
"""Correlations of the joint space in the prior of each map, see `benchmark.training.closed_form`."""

POWERS = (0.5, 1.0, 1.5)
"""Exponents of the singular values to choose from."""

SCALES = (4.0, 8.0, 16.0, 32.0)
"""Factors of the similarities in the loss that chooses."""

CHOOSING_ROWS = 500
"""Most validation rows that choose."""

DEPENDENT = 4
"""Validation rows that count as one when they weigh maps, because they compete in one batch."""


@dataclass(frozen=True)
class DCARPlusConfig:
    """Options of `dcar_plus`.

    Attributes:
        layers: joint, or blocks such as joint,0,middle,last; auto chooses how many on validation, and is the joint
            space where the encoder offers no layers.
        rank: outputs of each of the two maps of a side, if that is more than the joint space has.
        lambda_cate: weight of the category-aware loss.
        epsilon: relevance that other captions of the image's category share in that loss.
        n_attribute: number of its four negatives that swap an attribute; the others swap the category.

    Raises:
        FdrdError: a value is out of range.
    """

    layers: str = "auto"
    rank: int = 256
    lambda_cate: float = 0.0
    epsilon: float = 0.3
    n_attribute: int = 2

    def __post_init__(self) -> None:
        for name, least in (("rank", 1), ("lambda_cate", 0), ("epsilon", 0), ("n_attribute", 0)):
            if getattr(self, name) < least:
                raise FdrdError(f"{name}={getattr(self, name):g}: must be at least {least}")
        if self.n_attribute > NEGATIVES:
            raise FdrdError(f"n_attribute={self.n_attribute}: a caption has {NEGATIVES} negatives")


class Start(NamedTuple):
    """Maps of which training starts.

    Attributes:
        maps: of both sides; mapped features have mean length 1.
        gamma: their weight beside the joint space.
        name: how they were made.
        loss: their loss on validation, with the joint space.
        weight: their share among all maps.
    """

    maps: Maps
    gamma: float
    name: str
    loss: float
    weight: float = 0.0


def weighed(starts: Sequence[Start], rows: int) -> list[Start]:
    """Return maps weighed by the likelihood of validation rows, of which `DEPENDENT` count as one.

    A map below 1 % is left out: its columns are zero, and stay so in training.
    """
    losses = torch.tensor([start.loss for start in starts], dtype=torch.float64)
    weights = (-losses * rows / DEPENDENT).softmax(0)
    weights[weights < 0.01] = 0.0
    shares = (weights / weights.sum()).tolist()
    return [start._replace(weight=share) for start, share in zip(starts, shares, strict=True)]


class LinearMap(nn.Module):
    """Map features (B, D) to (B, k) unit features. Initially it keeps the joint space, the first d columns.

    Args:
        dim: d.
        inputs: D, at least d.
        outputs: k, at least d.
    """

    mean: Tensor

    def __init__(self, dim: int, inputs: int, outputs: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.map = nn.Parameter(pad(torch.eye(dim), (0, outputs - dim, 0, inputs - dim)))

    @torch.no_grad()
    def start_from(self, sides: Sequence[Side]) -> None:
        """Start from leading columns of some maps side by side, of mean length 1, so that one learning rate suits."""
        self.map.zero_()
        width = self.map.shape[1] // len(sides)
        for number, side in enumerate(sides):
            leading = side.map[:, :width].float()
            first = number * width
            self.map[: len(leading), first : first + leading.shape[1]] = leading
            self.mean[: len(side.mean)] = side.mean.float()
        lengths = self.map.norm(dim=0)
        self.map.div_(lengths[lengths > 0].mean())

    def forward(self, features: Tensor) -> Tensor:
        """Return unit features."""
        return normalize((features - self.mean) @ self.map, dim=-1)


class Learner(nn.Module):
    """A map for each side, and the weight gamma of what they map in the score."""

    gamma: Tensor

    def __init__(self, dim: int, image_inputs: int, text_inputs: int, outputs: int):
        super().__init__()
        self.image = LinearMap(dim, image_inputs, outputs)
        self.text = LinearMap(dim, text_inputs, outputs)
        self.register_buffer("gamma", torch.tensor(GAMMAS[0]))

    def start_from(self, starts: Sequence[Start]) -> None:
        """Start from about the weighted mean of the scores of some maps, each with its gamma beside the joint space.

        Only about, because mapped features have length 1 in the mean.
        """
        shares = [start.weight * start.gamma / (1 + start.gamma) for start in starts]
        for number, side in enumerate((self.image, self.text)):
            side.start_from(
                [
                    Side(start.maps[number].mean, share**0.5 * start.maps[number].map)
                    for start, share in zip(starts, shares, strict=True)
                ]
            )
        self.gamma.fill_(sum(shares) / (1 - sum(shares)))

    def joined(self, joint: Tensor, mapped: Tensor) -> Tensor:
        """Return (B, d + k) unit features that join both, `side_by_side`."""
        return side_by_side(joint, mapped, float(self.gamma))


def validation_loss(scores: Tensor, repeats: Tensor | None) -> float:
    """Return the contrastive loss of (N, N) scores of validation rows as one batch, at the best of `SCALES`."""
    return min(float(info_nce(scale * scores, repeats=repeats)) for scale in SCALES)


@torch.no_grad()
def choose_starts(
    encoder: BlockEncoder,
    train: RetrievalDataset,
    validation: RetrievalDataset,
    progress: Progress = silent,
) -> list[Start]:
    """Solve for the training pairs with each prior, and choose layers, regularizers, power and gamma of each.

    The criterion is the contrastive loss of the validation rows as one batch, at the best of `SCALES`. It moves with
    every score, so it chooses better on a few dozen rows than ranks do.

    Raises:
        FdrdError: there are fewer than 2 training pairs.
    """
    moments = covariances(encoder, train, progress)
    validation = thinned(validation, CHOOSING_ROWS)
    x, y = map(exact, encoded(encoder, Images.of(validation), validation.captions, progress))
    image, caption = map(torch.from_numpy, validation.pairs.T)
    repeats = repeats_of(*validation.pairs.T)
    d = encoder.encoder.dim

    def cosines(a: Tensor, b: Tensor) -> Tensor:
        return normalize(a, dim=-1)[image] @ normalize(b, dim=-1)[caption].T

    joint = cosines(x[:, :d], y[:, :d])
    best: dict[float, Start] = {}
    for number, (columns, prior) in enumerate(product(encoder.sets, PRIORS)):
        for each in candidates("cca", moments.leading(*columns), d, prior):
            a, b = each.maps.image.project(x), each.maps.text.project(y)
            for power in POWERS:
                both = a * each.values**power, b * each.values**power
                mapped = cosines(*both)
                for gamma in GAMMAS:
                    scores = ((joint + gamma * mapped) / (1 + gamma)).float()
                    loss = validation_loss(scores, repeats)
                    if prior not in best or loss < best[prior].loss:
                        name = f"{encoder.names_of(columns)}; {each.name}, power {power:g}, gamma {gamma:g}"
                        maps = (
                            Side(side.mean, side.map / features.norm(dim=-1).mean())
                            for side, features in zip(each.weighed(power), both, strict=True)
                        )
                        best[prior] = Start(Maps(*maps), gamma, name, loss)
        progress(f"choose | {best[prior].name}", number + 1, len(encoder.sets) * len(PRIORS))
    return weighed(list(best.values()), len(validation))


class DCARPlus(TrainedMethod):
    """Linear maps of several frozen layers beside the frozen joint space, scored by the cosine of both.

    Args:
        backbone: stays frozen.
        options: the options.
        train: training options.
        seed: seed of the order of the rows and of the negatives.
    """

    learner: Learner

    def __init__(self, backbone: Encoder, options: DCARPlusConfig, train: TrainConfig, seed: int):
        joint_only = options.layers == "auto" and LAYERS not in backbone.can
        self.blocks = BlockEncoder(backbone, JOINT if joint_only else options.layers)
        inputs = self.blocks.image_dim, self.blocks.text_dim
        super().__init__(
            backbone,
            Learner(
                backbone.dim, *inputs, len(PRIORS) * min(max(options.rank, backbone.dim), *inputs)
            ),
            train,
            seed,
            encode_image=self._encode_image,
            encode_text=self._encode_text,
            similarity=cosine,
            loss=self._loss,
        )
        self.options = options
        self.candidates: CandidateCaptions | None = None

    def fit(
        self,
        train: RetrievalDataset,
        validation: RetrievalDataset,
        context: TrainContext = QUIET,
    ) -> FitLog:
        """Solve for the maps in closed form, choose them and gamma on validation, and train from there."""
        self.learner.start_from(choose_starts(self.blocks, train, validation, context.progress))
        if self.options.lambda_cate:
            self.candidates = CandidateCaptions(
                train, self.seed, n_attribute=self.options.n_attribute
            )
        return learn(self, train, validation, context)

    def _encode_image(self, images: AnyImages) -> Features:
        blocks = self.blocks.encode_image(images)
        return Features(
            self.learner.joined(blocks[:, : self.backbone.dim], self.learner.image(blocks))
        )

    def _encode_text(self, captions: Sequence[str]) -> Features:
        blocks = self.blocks.encode_text(captions)
        return Features(
            self.learner.joined(blocks[:, : self.backbone.dim], self.learner.text(blocks))
        )

    def _loss(self, batch: Batch) -> Tensor:
        """Return the contrastive loss of what is scored, plus the category-aware loss of the mapped features."""
        scale = batch.scale_of(self.backbone)
        images, texts = self.encode_image(batch.images), self.encode_text(batch.captions)
        logits = scale * cosine(images, texts)
        loss = contrastive_loss(logits, "symmetric", batch.repeats, batch.bias_of(self.backbone))
        if self.candidates is None:
            return loss
        drawn = self.candidates.draw(batch)
        return loss + self.options.lambda_cate * category_aware_loss(
            images.pooled,
            self.encode_text(drawn.captions).pooled,
            drawn.category.to(self.backbone.device),
            drawn.allowed.to(self.backbone.device),
            scale=scale,
            epsilon=self.options.epsilon,
        )


TRAIN = TrainConfig(
    epochs=5,
    eval_every=1_000_000,
    batch_size=256,
    per_category=85,
    optimizer="adamw",
    learning_rate=2.5e-4,
    scale="12",
    keep_untrained=False,
)
"""The last state is kept: the closed form was chosen on validation, so it looks better there than it is."""


@method("dcar_plus", options=DCARPlusConfig, needs=Needs(), trains="linear maps")
def dcar_plus(
    backbone: Encoder, *, train: TrainConfig = TRAIN, seed: int = 0, **options: object
) -> DCARPlus:
    """Train maps of several layers from a closed form, in batches of a few categories; beyond arXiv 2508.04028.

    Args:
        backbone: stays frozen.
        train: training settings.
        seed: seed of the order of the rows, and of the negatives.
        options: see `DCARPlusConfig`.
    """
    return DCARPlus(backbone, DCARPlusConfig(**options), train, seed)  # type: ignore[arg-type]
