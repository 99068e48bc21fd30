"""Bottleneck adapter on frozen features, for CLIP-Adapter and DCAR (arXiv 2110.04544)."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from fdrd.errors import FdrdError

AdapterForm: TypeAlias = Literal["bottleneck", "residual", "linear", "identity"]
"""`bottleneck` is CLIP-Adapter's, `residual` and `linear` start as the identity, `identity` learns nothing."""


class Adapter(nn.Module):
    """Map frozen features z (..., inputs) to adapted unit features (..., d). The first d of z are the joint space x.

    | form | result before normalization |
    |---|---|
    | `bottleneck` | ratio * ReLU(W2 ReLU(W1 z)) + (1 - ratio) * x |
    | `residual` | x + ratio * W2 ReLU(W1 z), W2 initially zero |
    | `linear` | x + ratio * W z, W initially zero |
    | `identity` | x |

    Args:
        dim: d.
        form: see the table.
        reduction: the hidden layer has width d / reduction; below 1 it is wider than d.
        ratio: weight of the learned part.
        seed: seed of the initial weights.
        inputs: width of z, by default d; `BlockEncoder` puts layers behind the joint space.

    Raises:
        FdrdError: the reduction is below 0.01, or the ratio outside (0, 1].
    """

    used: Tensor

    def __init__(
        self,
        dim: int,
        form: AdapterForm,
        reduction: float,
        ratio: float,
        seed: int,
        inputs: int | None = None,
    ):
        super().__init__()
        inputs = inputs or dim
        self.dim = dim
        if inputs > dim:  # which layers are read may depend on the training
            self.register_buffer("used", torch.ones(inputs))
        if not reduction >= 0.01:
            raise FdrdError(f"reduction={reduction:g}: must be at least 0.01")
        if not 0 < ratio <= 1:
            raise FdrdError(f"ratio={ratio}: must be above 0 and at most 1")
        self.form = form
        self.ratio = ratio
        self.inner: nn.Module = nn.Identity()
        width = max(int(dim / reduction), 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            inner, last = nn.Linear(inputs, width, bias=False), nn.Linear(width, dim, bias=False)
            if form == "linear":
                self.inner = last = nn.Linear(inputs, dim, bias=False)
            elif form == "residual":
                self.inner = nn.Sequential(inner, nn.ReLU(), last)
            elif form == "bottleneck":
                self.inner = nn.Sequential(inner, nn.ReLU(), last, nn.ReLU())
        if form != "bottleneck":
            nn.init.zeros_(last.weight)

    def use(self, columns: int) -> None:
        """Read the first columns of z only."""
        if columns < len(getattr(self, "used", ())):
            self.used[columns:] = 0

    def forward(self, features: Tensor) -> Tensor:
        """Return adapted features of unit length."""
        joint = features[..., : self.dim]
        if self.form == "identity":
            return joint
        if features.shape[-1] > self.dim:
            features = features * self.used
        learned = self.ratio * self.inner(features)
        kept = 1 - self.ratio if self.form == "bottleneck" else 1
        return normalize(learned + kept * joint, dim=-1)
