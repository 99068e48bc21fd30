"""Dynamic token weights: how much the image changes the similarity of a caption's token.

A token that is as similar to a blank image as to the image says nothing about this image. The figure of
arXiv 2508.04028 prints `w = |S(token, blank) - S(token, image)|`. Its normalization is unknown. Raw values of
a few hundredths would erase the caption next to the position embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from benchmark import Backbone, Prompts

LOWEST, HIGHEST = 0.5, 2.0
"""Bounds of a token's share."""

NOTHING = 1e-5
"""A mean change up to this is float32 rounding, e.g. for a blank image that was encoded twice."""

SIDE = 224
"""Width and height of the blank image; the backbone's preprocessing resizes it."""


@torch.no_grad()
def caption_weights(
    backbone: Backbone, prompts: Prompts, images: Tensor, captions: Sequence[str], beta: float
) -> Tensor:
    """Return (B, T) weights of the tokens of B captions, each under its own image.

    Args:
        backbone: encodes the captions without prompts, and the blank image with them.
        prompts: prompts of both towers.
        images: (B, d) unit features of the captions' images, encoded with the prompts.
        captions: B captions.
        beta: strength of the weights.
    """
    plain = backbone.encode_text(captions, tokens=True, reserve=prompts.text[0].shape[-2])
    assert plain.tokens is not None
    assert plain.valid is not None
    white = Image.new("RGB", (SIDE, SIDE), "white")
    blank = backbone.encode_image([white], prompts).pooled[0]
    return token_weights(similarity_change(plain.tokens, images, blank), plain.valid, beta)


def similarity_change(tokens: Tensor, images: Tensor, blank: Tensor) -> Tensor:
    """Return (B, T), the similarity of each token with the blank image minus that with its image.

    Args:
        tokens: (B, T, d) unit features of the captions' tokens.
        images: (B, d) unit features of the images.
        blank: (d) unit feature of the blank image.

    >>> token = torch.tensor([[[1.0, 0.0]]])
    >>> similarity_change(token, torch.tensor([[0.6, 0.8]]), torch.tensor([1.0, 0.0]))
    tensor([[0.4000]])
    """
    return torch.einsum("btd,bd->bt", tokens, blank - images)


def token_weights(change: Tensor, valid: Tensor, beta: float) -> Tensor:
    """Return (B, T) weights of token embeddings; 1 where not `valid`, and where nothing changes.

    The weight is 1 + beta (u - 1). The share u is the absolute change divided by its mean, clamped to
    [0.5, 2], and divided by its mean again. So the mean weight is 1, and beta = 0 means no weighting.

    Args:
        change: (B, T) from `similarity_change`.
        valid: (B, T) true at the captions' own tokens.
        beta: strength of the weights.
    """
    size = change.abs().float().masked_fill(~valid, 0.0)
    mean = _mean(size, valid)
    share = (size / mean.clamp_min(1e-12)).clamp(LOWEST, HIGHEST)
    share = share / _mean(share, valid).clamp_min(1e-12)
    weights = 1 + beta * (share - 1)
    known = valid & (mean > NOTHING)  # not for an empty caption or a blank image
    return torch.where(known, weights, torch.ones_like(weights))


def _mean(values: Tensor, valid: Tensor) -> Tensor:
    """Return (B, 1) means over the valid tokens."""
    count = valid.sum(1, keepdim=True).clamp_min(1)
    return values.masked_fill(~valid, 0.0).sum(1, keepdim=True) / count
