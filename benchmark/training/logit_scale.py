"""The scale of similarities in training losses: the backbone's own, a number, or learned. Ranks ignore it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

MOST = 100.0
"""Upper bound of a learned scale, as in CLIP (arXiv 2103.00020)."""


class LogitScale(nn.Module):
    """The scale that replaces a backbone's own in the loss, learned on request.

    A learned scale starts at the backbone's, as does the bias that the sigmoid loss of SigLIP adds.

    Args:
        backbone: has the `logit_scale` and `logit_bias` that a learned scale starts at.
        scale: `backbone`, `learned` or a number.
    """

    def __init__(self, backbone: Any, scale: str):
        super().__init__()
        self.number = None if scale in ("backbone", "learned") else float(scale)
        self.learned: nn.ParameterDict | None = None
        if scale == "learned":
            start = {"log_scale": math.log(backbone.logit_scale), "bias": backbone.logit_bias}
            values = {name: nn.Parameter(torch.tensor(float(v))) for name, v in start.items()}
            self.learned = nn.ParameterDict(values).to(backbone.device)

    def values(self) -> tuple[float | Tensor | None, float | Tensor | None]:
        """Return scale and bias for the loss of a batch; None is the backbone's own."""
        if self.learned is None:
            return self.number, None
        return self.learned["log_scale"].exp(), self.learned["bias"]

    @torch.no_grad()
    def clamp(self) -> None:
        """Keep a learned scale between 1 and `MOST`."""
        if self.learned is not None:
            self.learned["log_scale"].clamp_(0, math.log(MOST))
