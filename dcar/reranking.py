"""Captions under the token weights of an image, at test time: `rerank` and `leak_paired`.

`rerank` reads a caption under every image that it is a candidate for, its own no more than others.
`leak_paired` reads it under its own image alone: the answer is then in the question, so that is no
retrieval, and there to show what a leak would bring.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmark import AnyImages, Features
from benchmark.evaluation.caption_tokens import read
from benchmark.evaluation.scoring import Scoring, Shortlist

if TYPE_CHECKING:
    from dcar.method import DCAR

RERANK = (
    "the {size} best items of each query are scored again, each caption under the token weights of the "
    "image at hand; that is a pass of the text tower for every pair."
)
LEAK = (
    "LEAK: each caption was encoded under the token weights of its own image, so it knows the answer. "
    "This is no retrieval, and compares with nothing."
)


def scoring(method: DCAR, shortlist: int, pair_limit: int) -> Scoring:
    """What DCAR does at test time beside its features of captions alone."""
    if method.config.test_weights == "leak_paired":
        return Scoring(
            {"leak": LEAK}, leak=lambda captions, images: leaked(method, captions, images)
        )
    if method.config.test_weights == "rerank":
        again = Shortlist(
            shortlist, pair_limit, lambda images, texts: pair_scores(method, images, texts)
        )
        return Scoring({"rerank": RERANK.format(size=shortlist)}, shortlist=again)
    return Scoring()


@torch.no_grad()
def pair_scores(method: DCAR, images: Features, texts: Features) -> Tensor:
    """(n,) cosines of n images with n captions, each read under its image's token weights.

    Args:
        method: fitted.
        images: from `encode_image`, with what token weights are compared with.
        texts: from `encode_text`, with the captions as token ids.
    """
    assert images.tokens is not None
    assert texts.token_ids is not None
    compared = images.tokens[:, 0] if method.config.weight_look == "global" else images.tokens
    read_with = under(method, read(texts.token_ids), compared)
    return (images.pooled * read_with).sum(dim=1)


@torch.no_grad()
def leaked(method: DCAR, captions: Sequence[str], images: AnyImages) -> Features:
    """Features of n captions that know their images."""
    _, compared = method.look(images, method.learner.prompts())
    return Features(under(method, captions, compared))


def under(method: DCAR, captions: Sequence[str], compared: Tensor) -> Tensor:
    """(n, d) features of n captions, each under what is compared of its image, (n, d) or (n, P, d)."""
    number = {caption: place for place, caption in enumerate(dict.fromkeys(captions))}
    where = torch.tensor([number[caption] for caption in captions], device=compared.device)
    plain = method.plain(list(number), tokens=True)[where]
    weights = method.weights(captions, plain, compared, method.blank())
    return method.features(captions, weights)
