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

WeightMode: TypeAlias = Literal["log_add", "logit", "loss"]
"""Where the category weight enters: before exp, inside exp, or before each candidate's loss."""

Candidates: TypeAlias = Literal["own", "in_batch", "train"]
"""An image's own caption and negatives, those of the whole batch, or also extra captions."""


@dataclass(frozen=True, eq=False)
class ExtraTexts:
    """N captions from outside a batch of B that are additional candidates of its images.

    Attributes:
        features: (N, d) of unit length.
        category: (N,) category numbers.
        wrong: (B, N) false where a caption is correct for the image, and so not a candidate.
    """

    features: Tensor
    category: Tensor
    wrong: Tensor


def category_aware_loss(
    images: Tensor,
    positives: Tensor,
    negatives: Tensor,
    present: Tensor,
    image_category: Tensor,
    negative_category: Tensor,
    *,
    scale: float | Tensor,
    alpha: float = 0.5,
    mode: WeightMode = "log_add",
    candidates: Candidates = "own",
    symmetric: bool = False,
    extra: ExtraTexts | None = None,
) -> Tensor:
    """Return the mean loss of B images.

    | mode | loss of an image with similarities S and weights w |
    |---|---|
    | `log_add` | cross entropy of `scale * S + log w` |
    | `logit` | cross entropy of `scale * w * S` |
    | `loss` | mean, weighted by w, of `softplus(scale * (S_k - S_positive))` over its negatives |

    Args:
        images: (B, d) unit features.
        positives: (B, d) unit features of their captions.
        negatives: (B, K, d) unit features of their negatives.
        present: (B, K) false where a caption has no further negative.
        image_category: (B,) category numbers.
        negative_category: (B, K) numbers of the categories that the negatives name.
        scale: factor of the similarities.
        alpha: the category weight is 1 + alpha within the image's category.
        mode: see above.
        candidates: which captions an image chooses from; `train` needs `extra`.
        symmetric: average with the choice of each caption among the images of the batch.
        extra: additional candidates of every image, from the rest of the training split.

    >>> one, two = torch.eye(2)
    >>> loss = category_aware_loss(
    ...     one[None], one[None], two[None, None], torch.tensor([[True]]),
    ...     torch.tensor([0]), torch.tensor([[1]]), scale=1.0, alpha=0.0)
    >>> round(float(loss), 4)  # log(1 + exp(0 - 1))
    0.3133
    """
    size = len(images)
    own = torch.arange(size, device=images.device)
    if candidates == "own":
        texts = torch.cat([positives[:, None], negatives], dim=1)  # (B, 1 + K, d)
        similarity = torch.einsum("bd,bkd->bk", images, texts)
        category = torch.cat([image_category[:, None], negative_category], dim=1)
        real = torch.cat([present.new_ones(size, 1), present], dim=1)
        target = torch.zeros_like(own)
    else:
        similarity = images @ torch.cat([positives, negatives.flatten(0, 1)]).T  # (B, B (1 + K))
        category = torch.cat([image_category, negative_category.flatten()]).expand(size, -1)
        real = torch.cat([torch.ones_like(own, dtype=torch.bool), present.flatten()])
        real = real.expand(size, -1)
        target = own
    if extra is not None:
        similarity = torch.cat([similarity, images @ extra.features.T], dim=1)
        category = torch.cat([category, extra.category.expand(size, -1)], dim=1)
        real = torch.cat([real, extra.wrong], dim=1)
    weight = 1 + alpha * (category == image_category[:, None]).to(similarity.dtype)
    if mode == "loss":
        loss = _pairwise(similarity, weight, real, target, scale)
    else:
        logits = scale * (similarity * weight if mode == "logit" else similarity)
        logits = logits + weight.log() if mode == "log_add" else logits
        loss = cross_entropy(logits.masked_fill(~real, -torch.inf), target)
    if symmetric:
        loss = (loss + cross_entropy(scale * positives @ images.T, own)) / 2
    return loss


def _pairwise(
    similarity: Tensor, weight: Tensor, real: Tensor, target: Tensor, scale: float | Tensor
) -> Tensor:
    """Return the loss of each negative against the positive; 0 for an image without negatives."""
    positive = similarity.gather(1, target[:, None])
    others = real.scatter(1, target[:, None], False).to(similarity.dtype) * weight
    losses = others * softplus(scale * (similarity - positive))
    return (losses.sum(1) / others.sum(1).clamp_min(1e-12)).mean()
