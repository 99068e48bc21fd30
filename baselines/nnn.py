"""Nearest Neighbor Normalization (arXiv 2410.24114): lower the score of candidates that are near every query.

A bias is subtracted from the score of a candidate: alpha times its mean similarity with the k nearest queries
from a bank of training queries (captions for an image, images for a caption). Nothing is trained.

One score serves both directions, s - b(image) - b(caption). When captions are ranked for an image, the image's own
bias is the same for all of them and changes no rank, and vice versa. So each direction gets the ranking of its own
correction, and may have its own alpha and k.

Differs from the paper: the bank is the whole train split, every image and every caption once. Alpha and k are
chosen per direction on validation from a grid of 20 plus no correction, which is coarser than the paper's sweep.
The search is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from baselines.zero_shot import ZeroShot
from benchmark import Encoder, Features, FitLog, method
from benchmark.evaluation.encoding import encode_split, rank_split
from benchmark.registry import QUIET, TrainContext
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError

ALPHAS = (0.25, 0.5, 0.75, 1.0)
KS = (1, 8, 32, 128, 512)
LARGEST_ALPHA = 2.0
_LENGTH_SQUARED = 2 + LARGEST_ALPHA**2
"""Squared length of a feature with its bias before normalization; a bias is at most alpha."""


class Bank(nn.Module):
    """Features of training rows, and numbers that are chosen on validation.

    The features are extra state, because a checkpoint may hold any number of them.

    Args:
        kept: (..., N, d) features, of which N may change.
        chosen: the numbers by name.
    """

    def __init__(self, kept: Tensor, **chosen: float):
        super().__init__()
        self.kept = kept
        for name, value in chosen.items():
            self.register_buffer(name, torch.tensor(value))

    def choose(self, *values: float) -> None:
        """Set the numbers."""
        for buffer, value in zip(self.buffers(), values, strict=True):
            buffer.fill_(value)

    def get_extra_state(self) -> Tensor:
        """Return the features."""
        return self.kept

    def set_extra_state(self, state: Tensor) -> None:
        """Restore any number of features. Checkpoints are untrusted, so the shape is checked.

        Raises:
            RuntimeError: they have another shape.
        """
        dims = state.dim(), self.kept.dim()
        if dims[0] != dims[1] or state[..., :0, :].shape != self.kept[..., :0, :].shape:
            raise RuntimeError(f"features of training rows have the shape {tuple(state.shape)}")
        self.kept = state


class NNN:
    """A frozen backbone whose scores are corrected by the neighborhoods of the candidates; arguments as `nnn`.

    Biases are extra coordinates of the features, so each is computed once.
    """

    trains: Literal["statistics"] = "statistics"

    def __init__(self, backbone: Encoder, alpha: float, k: int):
        if not 0 <= alpha <= LARGEST_ALPHA:
            raise FdrdError(f"nnn: alpha={alpha}: choose from 0 to {LARGEST_ALPHA:g}")
        if k < 0:
            raise FdrdError(f"nnn: k={k}: must be at least 1, or 0 to choose it on validation")
        self.plain = plain = ZeroShot(backbone)
        self.encode_image = lambda images: self._image(plain.encode_image(images))
        self.encode_text = lambda captions: self._text(plain.encode_text(captions))
        self.alpha = alpha
        self.k = k
        # An image is penalized for being near many captions, a caption for being near many images.
        self.captions, self.images = (
            Bank(torch.zeros(0, backbone.dim), alpha=0.0, k=1) for _ in range(2)
        )
        self.learner = nn.ModuleDict({"captions": self.captions, "images": self.images})

    def fit(
        self, train: RetrievalDataset, validation: RetrievalDataset, context: TrainContext = QUIET
    ) -> FitLog:
        """Fill the banks from the training rows, and choose on validation what is not given."""
        images, texts = encode_split(self.plain, train, context.progress)
        self.images.kept, self.captions.kept = images.pooled.cpu(), texts.pooled.cpu()
        images, texts = encode_split(self.plain, validation, context.progress)
        grid = list(_grid(self.alpha, self.k))
        found = []
        for alpha, k in grid:
            self.captions.choose(alpha, k)
            self.images.choose(alpha, k)
            ranks = rank_split(self, self._image(images), self._text(texts), validation)
            found.append([float((1 / side.strict).mean()) for side in ranks])
            context.progress("choose alpha and k", len(found), len(grid))
        # Captions are the candidates of image-to-text. Of equal scores the weakest correction wins.
        banks = (self.images, self.captions)
        for bank, scores in zip(banks, zip(*found, strict=True), strict=True):
            bank.choose(*grid[scores.index(max(scores))])
        return FitLog()

    def similarity(self, images: Features, texts: Features) -> Tensor:
        """Return (I, C) cosines of the backbone minus the biases of image and caption."""
        return _LENGTH_SQUARED * images.pooled @ texts.pooled.T

    def _image(self, features: Features) -> Features:
        pooled, bias = features.pooled, _bias(self.captions, features.pooled)
        return _with_coordinates(pooled, [-bias, torch.ones_like(bias), _rest(bias), 0 * bias])

    def _text(self, features: Features) -> Features:
        pooled, bias = features.pooled, _bias(self.images, features.pooled)
        return _with_coordinates(pooled, [torch.ones_like(bias), -bias, 0 * bias, _rest(bias)])


def _bias(bank: Bank, candidates: Tensor) -> Tensor:
    """Return (B,) biases to subtract from the scores of B candidates (B, d), by the training queries of a bank."""
    if not len(bank.kept):  # before `fit`
        return candidates.new_zeros(len(candidates))
    cosines = candidates @ bank.kept.to(candidates.device).T
    near = cosines.topk(min(int(bank.get_buffer("k")), len(bank.kept)), dim=1)
    return bank.get_buffer("alpha").to(candidates.device) * near.values.mean(dim=1)


def _with_coordinates(pooled: Tensor, others: Sequence[Tensor]) -> Features:
    return Features(normalize(torch.cat([pooled, torch.stack(list(others), dim=1)], dim=1), dim=1))


def _rest(bias: Tensor) -> Tensor:
    """Return the (B,) coordinate that gives all features the same length; the other side has 0."""
    return (LARGEST_ALPHA**2 - bias.square()).clamp_min(0).sqrt()


def _grid(alpha: float, k: int) -> Iterator[tuple[float, int]]:
    """Yield the settings to try, the weakest correction first.

    >>> list(_grid(0.5, 0))
    [(0.5, 1), (0.5, 8), (0.5, 32), (0.5, 128), (0.5, 512)]
    """
    if not alpha:
        yield 0.0, k or 1
    yield from product([alpha] if alpha else ALPHAS, [k] if k else KS)


@method("nnn", trains="nothing; uses statistics")
def nnn(backbone: Encoder, *, alpha: float = 0.0, k: int = 0) -> NNN:
    """Subtract the candidate's nearness to training queries; training-free (arXiv 2410.24114).

    Args:
        alpha: strength of the correction in both directions; 0 chooses each on validation.
        k: neighbors in both directions; 0 chooses each on validation.
    """
    return NNN(backbone, alpha, k)
