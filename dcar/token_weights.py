"""Dynamic token weights: how much the image changes the similarity of a caption's token.

A token that is as similar to a blank image as to the image says nothing about this image. The figure of
arXiv 2508.04028 prints `w = |S(token, blank) - S(token, image)|`. Its normalization is unknown. Raw values of
a few hundredths would erase the caption next to the position embeddings.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

Compared: TypeAlias = Literal["global", "patch_max", "patch_mean"]
"""The part of an image that a token is compared with: its pooled feature, or its patches."""

Sign: TypeAlias = Literal["abs", "relu"]
"""`relu` keeps only tokens that the image makes more similar, as in CAL (arXiv 2405.17871)."""

Normalization: TypeAlias = Literal["mean1", "raw", "minmax", "softmax", "cal"]
"""How changes become weights; see `token_weights`."""

LOWEST, HIGHEST = 0.5, 2.0
"""Bounds of a token's share in `mean1`."""

NOTHING = 1e-5
"""A mean change up to this is float32 rounding, e.g. for a blank image that was encoded twice."""


def similarity_change(tokens: Tensor, images: Tensor, blank: Tensor, compared: Compared) -> Tensor:
    """Return (B, T), the similarity of each token with the blank image minus that with its image.

    Args:
        tokens: (B, T, d) unit features of the captions' tokens.
        images: (B, d) unit features of the images; (B, P, d) of their patches unless `global`.
        blank: (d) or (P, d) of the blank image.
        compared: what a token is compared with.

    >>> token = torch.tensor([[[1.0, 0.0]]])
    >>> similarity_change(token, torch.tensor([[0.6, 0.8]]), torch.tensor([1.0, 0.0]), "global")
    tensor([[0.4000]])
    """
    if compared == "global":
        return torch.einsum("btd,bd->bt", tokens, blank - images)
    with_image = torch.einsum("btd,bpd->btp", tokens, images)
    with_blank = torch.einsum("btd,pd->btp", tokens, blank)
    if compared == "patch_max":
        return with_blank.amax(-1) - with_image.amax(-1)
    return with_blank.mean(-1) - with_image.mean(-1)


def token_weights(
    change: Tensor,
    valid: Tensor,
    *,
    beta: float = 0.5,
    sign: Sign = "abs",
    normalization: Normalization = "mean1",
) -> Tensor:
    """Return (B, T) weights of token embeddings; 1 where not `valid`, and where nothing changes.

    | normalization | u |
    |---|---|
    | `mean1` | change / its mean, clamped to [0.5, 2], / its mean again |
    | `raw` | change, as printed in the figure: close to 0 |
    | `minmax` | from 0 to 1 within a caption |
    | `softmax` | number of tokens times the softmax of change / its mean |
    | `cal` | as `mean1`, then averaged over three neighbors |

    The weight is 1 + beta (u - 1), so beta = 0 means no weighting.

    Args:
        change: from `similarity_change`.
        valid: (B, T) true at the captions' own tokens.
        beta: strength.
        sign: of the change.
        normalization: see above.
    """
    size = change.abs() if sign == "abs" else (-change).relu()
    size = size.float().masked_fill(~valid, 0.0)
    mean = _mean(size, valid)
    known = valid & (mean > NOTHING)  # not for an empty caption or a blank image
    if normalization == "raw":
        share = size
    elif normalization == "minmax":
        low = size.masked_fill(~valid, torch.inf).amin(1, keepdim=True)
        high = size.amax(1, keepdim=True)
        share = (size - low) / (high - low).clamp_min(1e-12)
    elif normalization == "softmax":
        odds = (size / mean.clamp_min(1e-12)).masked_fill(~valid, -torch.inf)
        share = torch.softmax(odds, dim=1) * valid.sum(1, keepdim=True)
    else:
        share = (size / mean.clamp_min(1e-12)).clamp(LOWEST, HIGHEST)
        if normalization == "cal":
            share = _neighbors(share, valid)
        share = share / _mean(share, valid).clamp_min(1e-12)
    weights = 1 + beta * (share - 1)
    return torch.where(known, weights, torch.ones_like(weights))


def by_word(change: Tensor, words: Tensor) -> Tensor:
    """Return (B, T), the mean signed change over all tokens of each token's word.

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
    """Return (B, 1) means over the valid tokens."""
    number = valid.sum(1, keepdim=True).clamp_min(1)
    return values.masked_fill(~valid, 0.0).sum(1, keepdim=True) / number


def _neighbors(values: Tensor, valid: Tensor) -> Tensor:
    """Return the mean over each token and its valid neighbors."""
    kept = values.masked_fill(~valid, 0.0)
    total, number = kept.clone(), valid.to(values.dtype).clone()
    for mine, other in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
        total[:, mine] += kept[:, other]
        number[:, mine] += valid[:, other]
    return total / number.clamp_min(1)
