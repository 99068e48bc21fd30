"""The category-aware loss: an image must prefer its caption to others, least to those of its own category."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


@dataclass(frozen=True, eq=False)
class CandidateTexts:
    """N captions for B images to choose from; the first B are the captions of these images.

    Attributes:
        features: (N, d) of unit length.
        category: (N,) category numbers.
        allowed: (B, N) true for an image's own caption, and for the wrong ones among which it chooses.
    """

    features: Tensor
    category: Tensor
    allowed: Tensor


def category_aware_loss(
    images: Tensor, texts: CandidateTexts, *, scale: float | Tensor, epsilon: float
) -> Tensor:
    """Return the mean loss of B images, and of their captions, which choose among these images.

    It is a cross entropy with graded targets. They are in proportion to 1 for an image's own caption and 0 for
    captions of other categories. The others of its category share `epsilon`, so their number does not matter.

    Args:
        images: (B, d) unit features.
        texts: the candidates.
        scale: factor of the similarities.
        epsilon: relevance that the other captions of an image's category share.

    >>> texts = CandidateTexts(torch.eye(2), torch.tensor([0, 1]), torch.ones(2, 2, dtype=torch.bool))
    >>> loss = category_aware_loss(torch.eye(2), texts, scale=1.0, epsilon=0.0)
    >>> round(float(loss), 4)  # log(1 + exp(0 - 1))
    0.3133
    """
    size = len(images)
    logits = scale * (images @ texts.features.T)  # (B, N)
    own = torch.eye(*logits.shape, device=images.device)
    same = (texts.category == texts.category[:size, None]).to(logits.dtype)
    related = same * (1 - own) * texts.allowed * epsilon
    to_text = choice_loss(logits, texts.allowed, own, related)
    square = slice(size)
    to_image = choice_loss(
        logits[:, square].T, texts.allowed[:, square].T, own[:, square], related[:, square].T
    )
    return (to_text + to_image) / 2


def choice_loss(logits: Tensor, allowed: Tensor, own: Tensor, related: Tensor) -> Tensor:
    """Return the cross entropy of each row's choice among its allowed columns.

    Args:
        logits: (B, N) scaled similarities.
        allowed: (B, N) true where a row may choose a column.
        own: (B, N) 1 for the row's own column, otherwise 0.
        related: (B, N) relevance of further columns, of which each gets an equal share; 0 for the others.
    """
    lowest = torch.finfo(logits.dtype).min  # -inf would make 0 * -inf of a column without target
    target = own + related / (related > 0).sum(dim=1, keepdim=True).clamp_min(1)
    return cross_entropy(
        logits.masked_fill(~allowed, lowest), target / target.sum(dim=1, keepdim=True)
    )
