"""Contrastive losses over the pairs of a batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid

from benchmark.settings import LossDirection, PairLoss


def contrastive_loss(
    logits: Tensor, loss: PairLoss, repeats: Tensor | None = None, bias: float | Tensor = 0.0
) -> Tensor:
    """Return InfoNCE in a direction, or the sigmoid loss, of which only the latter uses the bias."""
    if loss == "sigmoid":
        return sigmoid_loss(logits + bias, repeats)
    return info_nce(logits, loss, repeats)


def sigmoid_loss(logits: Tensor, repeats: Tensor | None = None) -> Tensor:
    """Return the sigmoid loss of SigLIP (arXiv 2303.15343): every pair is right or wrong on its own.

    Args:
        logits: (B, B + H) scaled similarities plus bias; row i belongs to column i, others are wrong.
        repeats: as in `info_nce`.

    >>> round(float(sigmoid_loss(torch.zeros(4, 4))), 4)  # 4 log 2 per image
    2.7726
    """
    signs = 2 * torch.eye(*logits.shape, device=logits.device) - 1
    return -logsigmoid(_masked(signs * logits, repeats, torch.inf)).sum() / len(logits)


def info_nce(
    logits: Tensor, direction: LossDirection = "symmetric", repeats: Tensor | None = None
) -> Tensor:
    """Return InfoNCE (arXiv 1807.03748) of a batch whose row i belongs to column i; symmetric as in CLIP.

    Classification-style prompt learners use one direction, which tends to weaken retrieval in the other.
    Captions beyond the first B are hard negatives that belong to no image, as in NegCLIP (arXiv 2210.01936).

    Args:
        logits: (B, B + H) scaled similarities of images (rows) with captions and H hard negatives.
        direction: the cross entropies to average.
        repeats: (B, B) pairs that are right, too, and so are left out: see `Batch.repeats`.

    >>> round(float(info_nce(torch.zeros(4, 4))), 4)  # four equal choices: log 4
    1.3863
    """
    logits = _masked(logits, repeats, -torch.inf)
    target = torch.arange(len(logits), device=logits.device)
    to_text = cross_entropy(logits, target)
    to_image = cross_entropy(logits[:, : len(logits)].T, target)
    if direction == "symmetric":
        return (to_text + to_image) / 2
    return to_text if direction == "image_to_text" else to_image


def _masked(logits: Tensor, repeats: Tensor | None, value: float) -> Tensor:
    """Return (B, B + H) logits with a value where pairs of the batch repeat."""
    if repeats is None:
        return logits
    mask = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device)
    mask[:, : len(repeats)] = repeats.to(logits.device)
    return logits.masked_fill(mask, value)
