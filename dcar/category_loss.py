"""The category-aware loss: an image must prefer its caption to captions with one wrong detail.

Candidates are captions with a swapped category and captions with a swapped attribute. The weight is
1 + alpha for a caption of the image's own category, 1 for others. How it enters the loss is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus

WeightMode: TypeAlias = Literal["log_add", "logit", "loss", "graded", "margin"]
"""How the category weight enters; see `category_aware_loss`."""


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
    images: Tensor,
    texts: CandidateTexts,
    *,
    scale: float | Tensor,
    alpha: float = 0.5,
    mode: WeightMode = "log_add",
    epsilon: float = 0.1,
    symmetric: bool = False,
) -> Tensor:
    """Return the mean loss of B images.

    | mode | loss of an image with similarities S and weights w |
    |---|---|
    | `log_add` | cross entropy of `scale * S + log w` |
    | `logit` | cross entropy of `scale * w * S` |
    | `loss` | mean, weighted by w, of `softplus(scale * (S_k - S_own))` over the wrong captions |
    | `graded` | cross entropy of `scale * S` with soft targets |
    | `margin` | cross entropy of `scale * (S + m)` |

    The targets of `graded` are in proportion to 1 for the own caption and 0 for other categories; the
    others of the image's category share `epsilon * w`, so that their number does not matter. The margin m
    is 0 for the own caption, `epsilon` for others of the image's category, and `epsilon * (1 + alpha)` for
    other categories.

    Args:
        images: (B, d) unit features.
        texts: the candidates.
        scale: factor of the similarities.
        alpha: the category weight is 1 + alpha within the image's category.
        mode: see above.
        epsilon: relevance or margin.
        symmetric: average with the choice of each caption among the images that allow it; only `graded`
            treats them by category.

    >>> texts = CandidateTexts(torch.eye(2), torch.tensor([0, 1]), torch.tensor([[True, True]]))
    >>> loss = category_aware_loss(torch.eye(2)[:1], texts, scale=1.0, alpha=0.0)
    >>> round(float(loss), 4)  # log(1 + exp(0 - 1))
    0.3133
    """
    size = len(images)
    similarity = images @ texts.features.T  # (B, N)
    own = torch.eye(*similarity.shape, device=images.device)
    same = (texts.category == texts.category[:size, None]).to(similarity.dtype)
    weight = 1 + alpha * same
    kin = same * (1 - own) * texts.allowed * (epsilon * (1 + alpha) if mode == "graded" else 0.0)
    if mode == "loss":
        wrong = texts.allowed * (1 - own) * weight
        losses = wrong * softplus(scale * (similarity - similarity.diagonal()[:, None]))
        loss = (losses.sum(1) / wrong.sum(1).clamp_min(1e-12)).mean()
    else:
        logits = scale * similarity
        if mode == "log_add":
            logits = logits + weight.log()
        elif mode == "logit":
            logits = logits * weight
        elif mode == "margin":
            logits = logits + scale * epsilon * (1 - own) * (1 + alpha * (1 - same))
        loss = _choice(logits, texts.allowed, own, kin)
    if symmetric:
        square = slice(size)
        to_image = _choice(
            scale * similarity[:, square].T,
            texts.allowed[:, square].T,
            own[:, square],
            kin[:, square].T,
        )
        loss = (loss + to_image) / 2
    return loss


def _choice(logits: Tensor, allowed: Tensor, own: Tensor, kin: Tensor) -> Tensor:
    """Return the cross entropy of each row's choice among its allowed columns.

    The targets are in proportion to 1 for its own column, and to an equal share of `kin` for its kin.
    """
    lowest = torch.finfo(logits.dtype).min  # -inf would make 0 * -inf of a column without target
    target = own + kin / (kin > 0).sum(dim=1, keepdim=True).clamp_min(1)
    return cross_entropy(
        logits.masked_fill(~allowed, lowest), target / target.sum(dim=1, keepdim=True)
    )
