"""Tip-Adapter (arXiv 2111.03930) for retrieval: training pairs as a cache that is added to the score, without training.

An image is close to some training images, a caption to some training captions: exp(-beta (1 - cosine)) is the
affinity to each. The score is the frozen cosine plus alpha times the cosine of the affinities of both to the N
training pairs. So a pair that is close on both sides speaks for image and caption.

Differs from the paper: there the values of the cache are classes. A caption is no class, so its affinities to
the cached captions take their place. Affinities are scaled to unit length, so nothing wins by being close to
many pairs. The trained variant, Tip-Adapter-F, is not built. Alpha and beta are chosen on validation, as in the
paper; no cache is among the choices. Of more than 8,192 training pairs, those at equal distances are cached.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from baselines.zero_shot import ZeroShot
from benchmark import AnyImages, Encoder, Features, FitLog, TrainContext, method
from benchmark.evaluation.encoding import encode_split, rank_split
from benchmark.evaluation.ranking import mean_mrr
from benchmark.training.row_selection import thinned
from benchmark.training.trained_method import cosine, side_by_side
from fdrd.dataset import RetrievalDataset

ALPHAS = (0.25, 0.5, 1.0, 2.0, 4.0)
BETAS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
MOST_PAIRS = 8192
VALIDATION_ROWS = 2000


class Cache(nn.Module):
    """Features of N training pairs, as extra state, because a checkpoint may hold any number of them.

    Args:
        dim: width d of the joint space.
    """

    alpha: Tensor
    beta: Tensor

    def __init__(self, dim: int):
        super().__init__()
        self.keys = torch.zeros(2, 0, dim)
        self.register_buffer("alpha", torch.tensor(0.0))
        self.register_buffer("beta", torch.tensor(1.0))

    def choose(self, alpha: float, beta: float) -> None:
        """Set the weight of the cache and the sharpness of the affinities."""
        self.alpha.fill_(alpha)
        self.beta.fill_(beta)

    def joined(self, features: Tensor, side: Literal[0, 1]) -> Tensor:
        """Return (B, d + N) unit features that join features and affinities, `side_by_side`.

        Args:
            features: (B, d) unit features.
            side: 0 for images, 1 for captions.
        """
        if not self.keys.shape[1]:  # before `fit`
            return features
        cosines = features @ self.keys[side].to(features).T
        # Relative to the nearest pair, so that no row underflows; unit length cancels the factor.
        near = torch.exp(float(self.beta) * (cosines - cosines.amax(dim=1, keepdim=True)))
        return side_by_side(features, normalize(near, dim=1), max(float(self.alpha), 0.0))

    def get_extra_state(self) -> Tensor:
        """Return the features."""
        return self.keys

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the features; a checkpoint of a stranger states their number.

        Raises:
            RuntimeError: they are no pairs of (N, d).
        """
        if state.dim() != 3 or state[:, :0].shape != self.keys[:, :0].shape:
            raise RuntimeError(f"cached features have the shape {tuple(state.shape)}")
        self.keys = state


class TipAdapter:
    """A frozen backbone whose scores get those of a cache of training pairs."""

    trains: Literal["statistics"] = "statistics"

    def __init__(self, backbone: Encoder):
        self.plain = ZeroShot(backbone)
        self.learner = Cache(backbone.dim)
        self.similarity = cosine

    def fit(
        self,
        train: RetrievalDataset,
        validation: RetrievalDataset,
        context: TrainContext = TrainContext(),
    ) -> FitLog:
        """Fill the cache, and choose alpha and beta on validation; of equal scores the weakest cache wins."""
        train, validation = thinned(train, MOST_PAIRS), thinned(validation, VALIDATION_ROWS)
        keys = encode_split(self.plain, train, context.progress)
        self.learner.keys = torch.stack(
            [each.pooled[train.pairs[:, side]].cpu() for side, each in enumerate(keys)]
        )
        images, texts = encode_split(self.plain, validation, context.progress)
        grid = [(0.0, BETAS[0]), *product(ALPHAS, BETAS)]
        scores = []
        for alpha, beta in grid:
            self.learner.choose(alpha, beta)
            ranks = rank_split(self, self._image(images), self._text(texts), validation)
            scores.append(mean_mrr(ranks))
            context.progress("choose alpha and beta", len(scores), len(grid))
        self.learner.choose(*grid[scores.index(max(scores))])
        return FitLog(untrained_mrr=scores[0], zero_shot_mrr=scores[0])

    def encode_image(self, images: AnyImages) -> Features:
        """Return features of B images, with their affinities."""
        return self._image(self.plain.encode_image(images))

    def encode_text(self, captions: Sequence[str]) -> Features:
        """Return features of B captions, with their affinities."""
        return self._text(self.plain.encode_text(captions))

    def _image(self, features: Features) -> Features:
        return Features(self.learner.joined(features.pooled, 0))

    def _text(self, features: Features) -> Features:
        return Features(self.learner.joined(features.pooled, 1))


@method("tip_adapter", trains="nothing; uses statistics")
def tip_adapter(backbone: Encoder) -> TipAdapter:
    """Add a cache of training pairs to the score; training-free (arXiv 2111.03930).

    Args:
        backbone: stays frozen.
    """
    return TipAdapter(backbone)
