"""Captions under the token weights of an image at test time: `rerank` and `leak_paired`.

`rerank` encodes a caption again for every image that it is a candidate for, treating its own image like the
others. `leak_paired` encodes it for its own image only. The query then contains the answer, so this is not
retrieval, and only shows what a leak would gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from benchmark import AnyImages, Features
from benchmark.evaluation.caption_tokens import decode_captions
from benchmark.evaluation.scoring import Scoring, Shortlist

RERANK = (
    "the {size} best items of each query are scored again, each caption under the token weights of the "
    "image being scored; that is a pass of the text tower for every pair."
)
LEAK = (
    "LEAK: each caption was encoded under the token weights of its own image, so it knows the answer. "
    "This is no retrieval, and compares with nothing."
)


class PairEncoder(Protocol):
    """A method that can encode captions for one image each."""

    def compared(self, images: AnyImages) -> Tensor:
        """Return what the token weights of B images are computed from."""

    def encode_paired(self, captions: Sequence[str], compared: Tensor) -> Tensor:
        """Return (n, d) features of n captions, each under the token weights of its own image."""


def scoring(
    encoder: PairEncoder, test_weights: str, *, by_patch: bool, shortlist: int, pair_limit: int
) -> Scoring:
    """Return how DCAR scores at test time beyond features of the caption only."""

    @torch.no_grad()
    def pair_scores(images: Features, texts: Features) -> Tensor:
        """Return (n,) cosines of n images with n captions, each under its image's token weights."""
        assert images.tokens is not None
        assert texts.token_ids is not None
        compared = images.tokens if by_patch else images.tokens[:, 0]
        encoded = encoder.encode_paired(decode_captions(texts.token_ids), compared)
        return (images.pooled * encoded).sum(dim=1)

    @torch.no_grad()
    def leaked(captions: Sequence[str], images: AnyImages) -> Features:
        return Features(encoder.encode_paired(captions, encoder.compared(images)))

    if test_weights == "leak_paired":
        return Scoring({"leak": LEAK}, leak=leaked)
    if test_weights == "rerank":
        again = Shortlist(shortlist, pair_limit, pair_scores)
        return Scoring({"rerank": RERANK.format(size=shortlist)}, shortlist=again)
    return Scoring()
