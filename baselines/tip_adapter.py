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

from itertools import product
from typing import Literal

import torch
from torch.nn.functional import normalize

from baselines.nnn import Bank
from baselines.zero_shot import ZeroShot
from benchmark import Encoder, Features, FitLog, method
from benchmark.evaluation.encoding import encode_split, rank_split
from benchmark.evaluation.ranking import mean_mrr
from benchmark.registry import QUIET, TrainContext
from benchmark.training.row_selection import thinned
from benchmark.training.trained_method import cosine, side_by_side
from fdrd.dataset import RetrievalDataset

ALPHAS = (0.25, 0.5, 1.0, 2.0, 4.0)
BETAS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
MOST_PAIRS = 8192
VALIDATION_ROWS = 2000


class TipAdapter:
    """A frozen backbone whose scores get those of a cache of training pairs."""

    trains: Literal["statistics"] = "statistics"

    def __init__(self, backbone: Encoder):
        self.plain = plain = ZeroShot(backbone)
        self.learner = Bank(torch.zeros(2, 0, backbone.dim), alpha=0.0, beta=1.0)
        self.encode_image = lambda images: self._joined(plain.encode_image(images), 0)
        self.encode_text = lambda captions: self._joined(plain.encode_text(captions), 1)
        self.similarity = cosine

    def fit(
        self, train: RetrievalDataset, validation: RetrievalDataset, context: TrainContext = QUIET
    ) -> FitLog:
        """Fill the cache, and choose alpha and beta on validation; of equal scores the weakest cache wins."""
        train, validation = thinned(train, MOST_PAIRS), thinned(validation, VALIDATION_ROWS)
        keys = encode_split(self.plain, train, context.progress)
        self.learner.kept = torch.stack(
            [each.pooled[train.pairs[:, side]].cpu() for side, each in enumerate(keys)]
        )
        images, texts = encode_split(self.plain, validation, context.progress)
        grid = [(0.0, BETAS[0]), *product(ALPHAS, BETAS)]
        scores = []
        for alpha, beta in grid:
            self.learner.choose(alpha, beta)
            ranks = rank_split(self, self._joined(images, 0), self._joined(texts, 1), validation)
            scores.append(mean_mrr(ranks))
            context.progress("choose alpha and beta", len(scores), len(grid))
        self.learner.choose(*grid[scores.index(max(scores))])
        return FitLog(untrained_mrr=scores[0], zero_shot_mrr=scores[0])

    def _joined(self, features: Features, side: Literal[0, 1]) -> Features:
        """Return (B, d + N) features of images (side 0) or captions (1) with their affinities, `side_by_side`."""
        pooled = features.pooled
        keys = self.learner.kept[side].to(pooled)
        if not len(keys):  # before `fit`
            return features
        cosines = pooled @ keys.T
        # Relative to the nearest pair, so that no row underflows; unit length cancels the factor.
        alpha, beta = map(float, self.learner.buffers())
        near = torch.exp(beta * (cosines - cosines.amax(dim=1, keepdim=True)))
        return Features(side_by_side(pooled, normalize(near, dim=1), max(alpha, 0.0)))


@method("tip_adapter", trains="nothing; uses statistics")
def tip_adapter(backbone: Encoder) -> TipAdapter:
    """Add a cache of training pairs to the score; training-free (arXiv 2111.03930)."""
    return TipAdapter(backbone)
