"""Token weights at scoring time: each image weighs the tokens of each caption by itself.

A weighted mean of token similarities is added to the similarity of pooled features. The weights depend on the
image being scored and on the blank image, and on no other image, so right and wrong pairs are treated alike and nothing
leaks. An extension of figure 2 of arXiv 2508.04028, which shows the weights on the input of the text tower, where
a caption would need a pass of its own for every image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dcar.token_weights import Normalization, Sign, token_weights

BLOCK = 2**22
"""Token similarities held in memory at a time: 16 MB each for similarities and weights, for any gallery."""


def pair_scores(
    images: Tensor,
    blank: Tensor,
    tokens: Tensor,
    valid: Tensor,
    *,
    beta: float = 1.0,
    sign: Sign = "abs",
    normalization: Normalization = "mean1",
    block: int = BLOCK,
) -> Tensor:
    """Return (I, C), for each pair the mean over the caption's tokens of weight times similarity with the image.

    Args:
        images: (I, d) unit features.
        blank: (d) of the blank image.
        tokens: (C, T, d) unit features of the captions' tokens.
        valid: (C, T) which of them count; a caption without any scores 0.
        beta: strength of the weights; 0 is the plain mean.
        sign: of the change, as in `token_weights`.
        normalization: as in `token_weights`.
        block: token similarities to hold at a time, or those of one pair if that is more.

    >>> tokens = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    >>> image, blank = torch.tensor([[0.6, 0.8]]), torch.tensor([0.8, 0.6])
    >>> found = pair_scores(image, blank, tokens, torch.tensor([[True, True]]))
    >>> round(float(found), 4)  # both change by 0.2: (0.6 + 0.8) / 2
    0.7
    """
    length = tokens.shape[1]
    captions = min(len(tokens), max(1, block // length))
    rows = min(len(images), max(1, block // (length * captions)))

    def scores(some: Tensor, words: Tensor, counted: Tensor) -> Tensor:
        similarity = torch.einsum("id,ctd->ict", some, words)
        change = (words @ blank - similarity).detach()
        every = counted.expand(len(some), -1, -1).flatten(0, 1)
        weights = token_weights(
            change.flatten(0, 1), every, beta=beta, sign=sign, normalization=normalization
        ).view_as(change)
        total = (similarity * weights * counted).sum(dim=2)
        return total / counted.sum(dim=1).clamp_min(1)

    return torch.cat(
        [
            torch.cat(
                [
                    scores(some, words, counted)
                    for words, counted in zip(
                        torch.split(tokens, captions), torch.split(valid, captions), strict=True
                    )
                ],
                dim=1,
            )
            for some in torch.split(images, rows)
        ]
    )
