"""The scale of similarities in training losses: the backbone's own, a number, or learned. Ranks ignore it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

MOST = 100.0
"""Upper bound of a learned scale, as in CLIP (arXiv 2103.00020)."""


class LogitScale(nn.Module):
    """Replaces `logit_scale` of a backbone while a loss is computed, and learns it on request.

    A learned scale starts at the backbone's, as does the bias that the sigmoid loss of SigLIP adds.

    Args:
        backbone: has `logit_scale` and `logit_bias`, which the loss reads.
        scale: `backbone`, `learned` or a number.
    """

    def __init__(self, backbone: Any, scale: str):
        super().__init__()
        self._backbone = [backbone]  # in a list, so that it does not become a part of this module
        self.number = None if scale in ("backbone", "learned") else float(scale)
        self.learned: nn.ParameterDict | None = None
        if scale == "learned":
            start = {"log_scale": math.log(backbone.logit_scale), "bias": backbone.logit_bias}
            values = {name: nn.Parameter(torch.tensor(float(v))) for name, v in start.items()}
            self.learned = nn.ParameterDict(values).to(backbone.device)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the backbone show this scale, and afterwards its own again."""
        (backbone,) = self._backbone
        if self.number is None and self.learned is None:
            yield
            return
        own = backbone.logit_scale, backbone.logit_bias
        backbone.logit_scale = self.number
        if self.learned is not None:
            backbone.logit_scale = self.learned["log_scale"].exp()
            backbone.logit_bias = self.learned["bias"]
        try:
            yield
        finally:
            backbone.logit_scale, backbone.logit_bias = own

    @torch.no_grad()
    def clamp(self) -> None:
        """Keep a learned scale between 1 and `MOST`."""
        if self.learned is not None:
            self.learned["log_scale"].clamp_(0, math.log(MOST))
