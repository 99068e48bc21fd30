"""Linear maps of both sides of frozen features, solved in closed form from covariances of the training pairs.

With the features of an image x and of its caption y centered, `A = (Cxx + lx tr(Cxx) / d I)^(-1/2)`, `B` likewise,
and `A Cxy B = U diag(s) V'`, the score is the cosine of `(x - mx) A U s^p` and `(y - my) B V s^p`. That is regularized
canonical correlation analysis. Everything happens in the basis of the eigenvectors of each side, so a pair of
regularizers costs one more decomposition, of `A Cxy B`.

A regularizer is a prior: further pairs that vary alike in all directions, and have nothing in common. With a
correlation r between equal axes of the joint space, these pairs speak for the frozen encoder: r times the root of both
regularizers is added to `Cxy` there. Then strong regularizers, which few pairs need, lead to the joint space.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmark.evaluation.encoding import encode_both
from benchmark.evaluation.ranking import mean_mrr, rank_galleries
from benchmark.models.backbone import Features
from benchmark.models.image_batches import Images
from benchmark.models.layers import BlockEncoder
from benchmark.training.row_selection import thinned
from benchmark.training.trained_method import cosine
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError
from fdrd.progress import Progress, silent

Kind: TypeAlias = Literal["cca", "ridge", "procrustes"]
"""Which maps: canonical correlation, regression of one side on the other, or a rotation."""

STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
"""Regularizers to choose from, as shares of the mean variance of a dimension."""

FURTHEST = 10.5
"""Largest ratio of the regularizers of both sides, because each pair costs a decomposition."""

POWERS = (0.5, 0.75, 1.0, 1.25, 1.5)
"""Exponents of the singular values to choose from."""

VALIDATION_ROWS = 2000
"""Most validation rows that choose; of more, rows at equal distances do."""

ROWS = 4096
"""Pairs whose features are held in double precision at a time."""

NO_VARIANCE = 1e-12
"""Share of the largest eigenvalue below which a direction has no variance."""

UNCORRELATED = 1e-7
"""Share of the largest singular value below which a direction is left out."""


@dataclass(frozen=True)
class Covariances:
    """Means (Dx,), (Dy,) and covariances (Dx, Dx), (Dy, Dy), (Dx, Dy) of the features of N pairs, in double precision.

    An image counts once for each of its captions.
    """

    image_mean: Tensor
    text_mean: Tensor
    image: Tensor
    text: Tensor
    cross: Tensor

    def leading(self, image: int, text: int) -> Covariances:
        """Return the moments of the first columns of each side."""
        return Covariances(
            self.image_mean[:image],
            self.text_mean[:text],
            self.image[:image, :image],
            self.text[:text, :text],
            self.cross[:image, :text],
        )


def covariances(
    encoder: BlockEncoder, train: RetrievalDataset, progress: Progress = silent
) -> Covariances:
    """Return the covariances of the training pairs, which are encoded and added a few thousand at a time.

    Raises:
        FdrdError: there are fewer than 2 pairs.
    """
    if len(train) < 2:
        raise FdrdError(f"{train.name}: covariances need at least 2 pairs, got {len(train)}")

    def parts() -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(train), ROWS):
            image, caption = train.pairs[start : start + ROWS].T
            images, image = np.unique(image, return_inverse=True)
            texts, caption = np.unique(caption, return_inverse=True)
            x, y = encoded(encoder, Images(train, images), [train.captions[text] for text in texts])
            yield x[torch.from_numpy(image)], y[torch.from_numpy(caption)]
            progress("covariances", min(start + ROWS, len(train)), len(train))

    return covariances_of(parts())


def encoded(
    encoder: BlockEncoder, images: Images, captions: Sequence[str], progress: Progress = silent
) -> tuple[Tensor, Tensor]:
    """Return blocks (I, Dx) and (C, Dy) of some images and captions, encoded in batches."""
    x, y = encode_both(
        images,
        captions,
        lambda some: Features(encoder.encode_image(some)),
        lambda some: Features(encoder.encode_text(some)),
        encoder.encoder.device,
        progress,
    )
    return x.pooled, y.pooled


def covariances_of(parts: Iterable[tuple[Tensor, Tensor]]) -> Covariances:
    """Return the covariances of pairs that come in parts: (B, Dx) features of images and (B, Dy) of their captions."""
    count = 0
    sums: list[Tensor] = []
    for x, y in parts:
        x, y = exact(x), exact(y)
        found = [x.sum(0), y.sum(0), x.T @ x, y.T @ y, x.T @ y]
        sums = [a.add_(b) for a, b in zip(sums, found, strict=True)] if sums else found
        count += len(x)
    mx, my, xx, yy, xy = (each / count for each in sums)
    return Covariances(mx, my, xx - mx.outer(mx), yy - my.outer(my), xy - mx.outer(my))


@dataclass(frozen=True)
class Side:
    """An affine map of the features of one side: its mean (D,), and a matrix (D, k)."""

    mean: Tensor
    map: Tensor

    def project(self, features: Tensor) -> Tensor:
        """Return (B, k) mapped features of (B, >= D), of which the first D columns count."""
        return (features[:, : len(self.mean)].to(self.map) - self.mean) @ self.map


class Maps(NamedTuple):
    """Maps of both sides into one space."""

    image: Side
    text: Side


class Spectrum:
    """Eigenvectors and eigenvalues of a covariance (D, D), without directions that have no variance.

    The vectors also span the leading `axes`.
    """

    def __init__(self, covariance: Tensor, axes: int = 0):
        values, vectors = torch.linalg.eigh(covariance)
        kept = values > NO_VARIANCE * values[-1]
        self.values, self.vectors = values[kept], vectors[:, kept]
        self.mean = covariance.trace() / len(covariance)
        if axes and not kept.all():
            rest = vectors[:, ~kept]
            rest = rest @ singular(rest.T[:, :axes])[0]  # their part in what has no variance
            self.values = torch.cat([self.values, self.values.new_zeros(rest.shape[1])])
            self.vectors = torch.cat([self.vectors, rest], dim=1)

    def regularized(self, strength: float, power: float) -> Tensor:
        """Return the eigenvalues of a power of the covariance whose diagonal is larger by a share of its mean."""
        return torch.pow(self.values + strength * self.mean, power)


class Candidate(NamedTuple):
    """Maps whose k dimensions are yet to be weighed by a power of `values` (k,).

    `powers` are those to choose from, `name` says how the maps were made.
    """

    maps: Maps
    values: Tensor
    powers: Sequence[float]
    name: str

    def weighed(self, power: float) -> Maps:
        """Return the maps with the weights in them."""
        weights = self.values**power
        return Maps(*(Side(side.mean, side.map * weights) for side in self.maps))


def candidates(
    kind: Kind, covariances: Covariances, joint: int = 0, prior: float = 0.0
) -> Iterator[Candidate]:
    """Yield the maps to choose from.

    Args:
        kind: which maps.
        covariances: moments of the training pairs.
        joint: width of the joint space, the first columns of both sides.
        prior: correlation of its axes in the prior of `cca`.
    """
    mx, my = covariances.image_mean, covariances.text_mean
    if kind == "procrustes":
        u, s, v = singular(covariances.cross)
        yield Candidate(Maps(Side(mx, u), Side(my, v)), torch.ones_like(s), (1.0,), "rotation")
        return
    axes = joint if prior else 0
    x, y = Spectrum(covariances.image, axes), Spectrum(covariances.text, axes)
    cross = x.vectors.T @ covariances.cross @ y.vectors
    if kind == "cca":
        for lx, ly in product(STRENGTHS, STRENGTHS):
            if max(lx / ly, ly / lx) > FURTHEST:
                continue
            a, b = x.regularized(lx, -0.5)[:, None], y.regularized(ly, -0.5)[:, None]
            alike = (lx * x.mean * ly * y.mean).sqrt() * x.vectors[:axes].T @ y.vectors[:axes]
            u, s, v = singular(a * (cross + prior * alike) * b.T)
            maps = Maps(Side(mx, x.vectors @ (a * u)), Side(my, y.vectors @ (b * v)))
            name = f"lx={lx:g}, ly={ly:g}" + (f", prior {prior:g}" if prior else "")
            yield Candidate(maps, s, POWERS, name)
        return
    for strength in STRENGTHS:
        to_text = x.vectors @ (x.regularized(strength, -1)[:, None] * cross) @ y.vectors.T
        one = torch.ones_like(my)
        maps = Maps(Side(mx, to_text), Side(my, one.diag()))
        yield Candidate(maps, one, (1.0,), f"images to captions, lx={strength:g}")
        to_image = y.vectors @ (y.regularized(strength, -1)[:, None] * cross.T) @ x.vectors.T
        one = torch.ones_like(mx)
        maps = Maps(Side(mx, one.diag()), Side(my, to_image))
        yield Candidate(maps, one, (1.0,), f"captions to images, ly={strength:g}")


def singular(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return U (n, k), s (k,) descending and V (m, k) of a matrix (n, m), without directions of which s is negligible.

    By the eigenvectors of the smaller Gram matrix, several times faster than a general decomposition.
    """
    if matrix.shape[0] > matrix.shape[1]:
        v, s, u = singular(matrix.T)
        return u, s, v
    squares, u = torch.linalg.eigh(matrix @ matrix.T)
    s = squares.clamp_min(0).sqrt()
    kept = (s > UNCORRELATED * s.amax()).nonzero()[:, 0].flip(0) if len(s) else []
    s, u = s[kept], u[:, kept]
    return u, s, matrix.T @ u / s


@dataclass(frozen=True)
class Choice:
    """What validation chose.

    Attributes:
        maps: of both sides; None if the joint space without a map is at least as good, or nothing correlates.
        columns: image and text columns that count, one of `BlockEncoder.sets`.
        name: how the maps were made.
        mrr: mean MRR of the maps, or else of the joint space, on the validation split.
        joint_mrr: mean MRR of the joint space; None if there is none.
    """

    maps: Maps | None
    columns: tuple[int, int]
    name: str
    mrr: float
    joint_mrr: float | None


@torch.no_grad()
def choose(
    encoder: BlockEncoder,
    train: RetrievalDataset,
    validation: RetrievalDataset,
    kind: Kind = "cca",
    progress: Progress = silent,
) -> Choice:
    """Solve for the training pairs, and choose layers, regularizers and power by the MRR on the validation rows.

    Raises:
        FdrdError: there are fewer than 2 training pairs.
    """
    moments = covariances(encoder, train, progress)
    validation = thinned(validation, VALIDATION_ROWS)
    x, y = map(exact, encoded(encoder, Images.of(validation), validation.captions, progress))

    d = encoder.encoder.dim
    joint = mrr(x[:, :d], y[:, :d], validation) if encoder.joint else None
    best = Choice(None, encoder.sets[0], "joint space", joint or 0.0, joint)
    for done, columns in enumerate(encoder.sets, 1):
        for each in candidates(kind, moments.leading(*columns)):
            a, b = each.maps.image.project(x), each.maps.text.project(y)
            for power in each.powers:
                weights = each.values**power
                found = mrr(a * weights, b * weights, validation)
                if found > best.mrr:
                    name = f"{encoder.names_of(columns)}; {each.name}, power {power:g}"
                    best = Choice(each.weighed(power), columns, name, found, joint)
        progress(f"choose | {best.name}, validation MRR {best.mrr:.3f}", done, len(encoder.sets))
    return best


def mrr(images: Tensor, texts: Tensor, dataset: RetrievalDataset) -> float:
    """Return the mean MRR of both directions by the cosines of (I, k) images and (C, k) captions of a split."""
    x, y = (Features(normalize(part.float(), dim=-1)) for part in (images, texts))
    rows = dataset.pairs, dataset.row_category, dataset.image_domain
    return mean_mrr(rank_galleries(cosine, x, y, *rows, "domain"))


def exact(features: Tensor) -> Tensor:
    """Return features in double precision, where the device has it."""
    return (features if features.is_cuda else features.cpu()).double()
