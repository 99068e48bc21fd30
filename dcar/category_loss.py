"""The category-aware loss: an image must prefer its caption to others, least to those of its own category."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def category_aware_loss(
    images: Tensor,
    texts: Tensor,
    category: Tensor,
    allowed: Tensor,
    *,
    scale: float | Tensor,
    epsilon: float,
) -> Tensor:
    """Return the mean loss of B images, and of their captions, which choose among these images.

    It is a cross entropy with graded targets. They are in proportion to 1 for an image's own caption and 0 for
    captions of other categories. The others of its category share `epsilon`, so their number does not matter.

    Args:
        images: (B, d) unit features.
        texts: (N, d) unit features of the candidates, of which the first B are the captions of the images.
        category: (N,) indices of their categories.
        allowed: (B, N) true for an image's own caption, and for the wrong ones among which it chooses.
        scale: factor of the similarities.
        epsilon: relevance that the other captions of an image's category share.

    >>> vectors, allowed = torch.eye(2), torch.ones(2, 2, dtype=torch.bool)
    >>> loss = category_aware_loss(vectors, vectors, torch.arange(2), allowed, scale=1.0, epsilon=0.0)
    >>> round(float(loss), 4)  # log(1 + exp(0 - 1))
    0.3133
    """
    size = len(images)
    logits = scale * (images @ texts.T)  # (B, N)
    own = torch.eye(*logits.shape, device=images.device)
    same = (category == category[:size, None]).to(logits.dtype)
    related = same * (1 - own) * allowed * epsilon
    to_text = choice_loss(logits, allowed, own, related)
    square = slice(size)
    to_image = choice_loss(
        logits[:, square].T, allowed[:, square].T, own[:, square], related[:, square].T
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
