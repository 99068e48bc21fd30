"""Dynamic token weights: how much the image changes what a caption's token is similar to.

A token whose similarity with the image is that with a blank image says nothing about this image. The
figure of arXiv 2508.04028 prints `w = |S(token, blank) - S(token, image)|`; how it is normalised is
not known, and raw values of a few hundredths would erase the caption beside the position embeddings.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

Look: TypeAlias = Literal["global", "patch_max", "patch_mean"]
"""What of an image a token is compared with: its pooled feature, or its patches."""

Sign: TypeAlias = Literal["abs", "relu"]
"""`relu` keeps only what the image makes more similar, as in CAL (arXiv 2405.17871)."""

Normalisation: TypeAlias = Literal["mean1", "raw", "minmax", "softmax", "cal"]
"""How changes become weights; see `token_weights`."""

LOWEST, HIGHEST = 0.5, 2.0
"""Bounds of a token's share in `mean1`."""

NOTHING = 1e-5
"""A mean change up to this is rounding in float32: of a blank image that was encoded twice."""


def similarity_change(tokens: Tensor, images: Tensor, blank: Tensor, look: Look) -> Tensor:
    """(B, T) similarity of each token with the blank image less that with its own image.

    Args:
        tokens: (B, T, d) unit features of the captions' tokens.
        images: (B, d) unit features of the images; (B, P, d) of their patches unless `global`.
        blank: (d) or (P, d) of the blank image.
        look: what is compared.

    >>> token = torch.tensor([[[1.0, 0.0]]])
    >>> similarity_change(token, torch.tensor([[0.6, 0.8]]), torch.tensor([1.0, 0.0]), "global")
    tensor([[0.4000]])
    """
    if look == "global":
        return torch.einsum("btd,bd->bt", tokens, blank - images)
    with_image = torch.einsum("btd,bpd->btp", tokens, images)
    with_blank = torch.einsum("btd,pd->btp", tokens, blank)
    if look == "patch_max":
        return with_blank.amax(-1) - with_image.amax(-1)
    return with_blank.mean(-1) - with_image.mean(-1)


def token_weights(
    change: Tensor,
    valid: Tensor,
    *,
    beta: float = 0.5,
    sign: Sign = "abs",
    normalisation: Normalisation = "mean1",
) -> Tensor:
    """(B, T) weights of token embeddings; 1 wherever `valid` is false, and where nothing changes.

    | normalisation | u |
    |---|---|
    | `mean1` | change / its mean, kept within [0.5, 2], / its mean again |
    | `raw` | change, as printed in the figure: close to 0 |
    | `minmax` | from 0 to 1 within a caption |
    | `softmax` | number of tokens times the softmax of change / its mean |
    | `cal` | as `mean1`, then averaged over three neighbours |

    The weight is 1 + beta (u - 1), so that beta = 0 is no weighting.

    Args:
        change: from `similarity_change`.
        valid: (B, T) true at the captions' own tokens.
        beta: strength.
        sign: of the change.
        normalisation: see above.
    """
    size = change.abs() if sign == "abs" else (-change).relu()
    size = size.float().masked_fill(~valid, 0.0)
    mean = _mean(size, valid)
    known = valid & (mean > NOTHING)  # an empty caption, or an image that is blank itself
    if normalisation == "raw":
        share = size
    elif normalisation == "minmax":
        low = size.masked_fill(~valid, torch.inf).amin(1, keepdim=True)
        high = size.amax(1, keepdim=True)
        share = (size - low) / (high - low).clamp_min(1e-12)
    elif normalisation == "softmax":
        odds = (size / mean.clamp_min(1e-12)).masked_fill(~valid, -torch.inf)
        share = torch.softmax(odds, dim=1) * valid.sum(1, keepdim=True)
    else:
        share = (size / mean.clamp_min(1e-12)).clamp(LOWEST, HIGHEST)
        if normalisation == "cal":
            share = _neighbours(share, valid)
        share = share / _mean(share, valid).clamp_min(1e-12)
    weights = 1 + beta * (share - 1)
    return torch.where(known, weights, torch.ones_like(weights))


def by_word(change: Tensor, words: Tensor) -> Tensor:
    """(B, T) the mean change over the pieces of each token's word, with the sign kept.

    >>> by_word(torch.tensor([[1.0, 3.0, 5.0]]), torch.tensor([[0, 0, 1]]))
    tensor([[2., 2., 5.]])
    """
    place = words.clamp_min(0) + 1
    place = torch.where(words < 0, torch.zeros_like(place), place)
    width = int(place.max()) + 1
    total = change.new_zeros(len(change), width).scatter_add(1, place, change)
    count = change.new_zeros(len(change), width).scatter_add(1, place, torch.ones_like(change))
    return (total / count.clamp_min(1)).gather(1, place)


def _mean(values: Tensor, valid: Tensor) -> Tensor:
    """(B, 1) mean over the valid tokens."""
    number = valid.sum(1, keepdim=True).clamp_min(1)
    return values.masked_fill(~valid, 0.0).sum(1, keepdim=True) / number


def _neighbours(values: Tensor, valid: Tensor) -> Tensor:
    """Mean over each token and the valid ones on either side."""
    kept = values.masked_fill(~valid, 0.0)
    total, number = kept.clone(), valid.to(values.dtype).clone()
    for mine, other in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
        total[:, mine] += kept[:, other]
        number[:, mine] += valid[:, other]
    return total / number.clamp_min(1)
