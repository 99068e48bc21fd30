"""Contrastive losses over the pairs of a batch."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid

LossDirection = Literal["symmetric", "image_to_text", "text_to_image"]

PairLoss = Literal["symmetric", "image_to_text", "text_to_image", "sigmoid"]
"""A direction of InfoNCE, or SigLIP's loss."""


def sigmoid_loss(logits: Tensor) -> Tensor:
    """Return the sigmoid loss of SigLIP (arXiv 2303.15343): every pair is right or wrong on its own.

    Args:
        logits: (B, B + H) scaled similarities plus bias; row i belongs to column i, others are wrong.

    >>> round(float(sigmoid_loss(torch.zeros(4, 4))), 4)  # 4 log 2 per image
    2.7726
    """
    signs = 2 * torch.eye(*logits.shape, device=logits.device) - 1
    return -logsigmoid(signs * logits).sum() / len(logits)


def info_nce(logits: Tensor, direction: LossDirection = "symmetric") -> Tensor:
    """Return InfoNCE (arXiv 1807.03748) of a batch whose row i belongs to column i; symmetric as in CLIP.

    Classification-style prompt learners use one direction, which tends to weaken retrieval in the other.
    Captions beyond the first B are hard negatives that belong to no image, as in NegCLIP (arXiv 2210.01936).

    Args:
        logits: (B, B + H) scaled similarities of images (rows) with captions and H hard negatives.
        direction: the cross entropies to average.

    >>> round(float(info_nce(torch.zeros(4, 4))), 4)  # four equal choices: log 4
    1.3863
    """
    target = torch.arange(len(logits), device=logits.device)
    to_text = cross_entropy(logits, target)
    to_image = cross_entropy(logits[:, : len(logits)].T, target)
    if direction == "symmetric":
        return (to_text + to_image) / 2
    return to_text if direction == "image_to_text" else to_image
