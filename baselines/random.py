"""Random vectors that depend only on content and seed: the floor of every table.

After mteb's random baseline. It shows which scores a gallery gives away for free.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmark import AnyImages, Features, FitLog, TrainContext, method
from benchmark.models.image_batches import digests
from benchmark.registry import QUIET
from fdrd.dataset import RetrievalDataset


class Random:
    """A random direction for each image and each caption."""

    trains: Literal["nothing"] = "nothing"
    learner = None

    def __init__(self, dim: int, seed: int):
        self.dim = dim
        self.seed = seed

    def fit(
        self,
        train: RetrievalDataset,
        validation: RetrievalDataset,
        context: TrainContext = QUIET,
    ) -> FitLog:
        """Train nothing."""
        return FitLog()

    def encode_image(self, images: AnyImages) -> Features:
        """Return a vector for each of B images."""
        return self._draw([f"image {digest}" for digest in digests(images)])

    def encode_text(self, captions: Sequence[str]) -> Features:
        """Return a vector for each of B captions."""
        return self._draw([f"text {caption}" for caption in captions])

    def similarity(self, images: Features, texts: Features) -> Tensor:
        """Return (I, C) cosines."""
        return images.pooled @ texts.pooled.T

    def _draw(self, contents: Sequence[str]) -> Features:
        rows = []
        for content in contents:
            digest = hashlib.sha256(f"{self.seed} {content}".encode()).digest()
            generator = np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))
            rows.append(generator.standard_normal(self.dim, dtype=np.float32))
        return Features(normalize(torch.from_numpy(np.stack(rows)), dim=-1))


@method("random", role="floor", trains="nothing")
def random(*, dim: int = 512, seed: int = 0) -> Random:
    """Score random vectors, the floor of the table; needs no backbone.

    Args:
        dim: length of the vectors.
        seed: seed of the vectors.
    """
    return Random(dim, seed)
