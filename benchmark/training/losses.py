"""Contrastive losses over the pairs of a batch, and the scale of their similarities."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, logsigmoid

from benchmark.settings import LossDirection, PairLoss

MOST = 100.0
"""Upper bound of a learned scale, as in CLIP (arXiv 2103.00020)."""


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
    return in_direction(to_text, cross_entropy(logits[:, : len(logits)].T, target), direction)


def in_direction(to_text: Tensor, to_image: Tensor, direction: LossDirection) -> Tensor:
    """Return the loss of one direction, or the mean of both."""
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


class LogitScale(nn.Module):
    """The scale of similarities in the loss, where it is not the backbone's own; ranks ignore it.

    A learned scale starts at the backbone's, as does the bias that the sigmoid loss of SigLIP adds.

    Args:
        backbone: has the `logit_scale` and `logit_bias` that a learned scale starts at.
        scale: `backbone`, `learned` or a number.
    """

    def __init__(self, backbone: Any, scale: str):
        super().__init__()
        self.fixed = None if scale in ("backbone", "learned") else float(scale)
        self.learned: nn.ParameterDict | None = None
        if scale == "learned":
            start = {"log_scale": math.log(backbone.logit_scale), "bias": backbone.logit_bias}
            values = {name: nn.Parameter(torch.tensor(float(v))) for name, v in start.items()}
            self.learned = nn.ParameterDict(values).to(backbone.device)

    def values(self) -> tuple[float | Tensor | None, float | Tensor | None]:
        """Return scale and bias for the loss of a batch; None is the backbone's own."""
        if self.learned is None:
            return self.fixed, None
        return self.learned["log_scale"].exp(), self.learned["bias"]

    @torch.no_grad()
    def clamp(self) -> None:
        """Keep a learned scale between 1 and `MOST`."""
        if self.learned is not None:
            self.learned["log_scale"].clamp_(0, math.log(MOST))
