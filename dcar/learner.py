"""All that DCAR learns."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmark import Adapter, CoupledPrompts, Features

FALLOFF = 0.99
"""Of the running mean of a vocabulary entry's weight, per batch that it occurs in."""


class Learner(nn.Module):
    """Prompts and adapter, and what is known of token weights when there is no image.

    Args:
        prompts: of both towers.
        adapter: of the plain text features.
        vocabulary: entries whose mean weight is kept, 0 for none.
        width: d, for a small network that foretells weights, 0 for none.
        seed: of the network's first weights.
    """

    def __init__(
        self, prompts: CoupledPrompts, adapter: Adapter, vocabulary: int, width: int, seed: int
    ):
        super().__init__()
        self.prompts = prompts
        self.adapter = adapter
        self.mean_weight: Tensor
        if vocabulary:
            self.register_buffer("mean_weight", torch.ones(vocabulary))
        self.predictor: nn.Sequential | None = None
        if width:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                hidden = max(width // 4, 1)
                self.predictor = nn.Sequential(
                    nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 1)
                )

    @torch.no_grad()
    def remember(self, plain: Features, weights: Tensor) -> None:
        """Move the mean weight of each vocabulary entry in the captions towards these weights."""
        assert plain.token_ids is not None
        assert plain.valid is not None
        entries, place = torch.unique(plain.token_ids[plain.valid], return_inverse=True)
        total = torch.zeros(len(entries), device=weights.device)
        number = torch.zeros_like(total)
        total.scatter_add_(0, place, weights[plain.valid])
        number.scatter_add_(0, place, torch.ones_like(weights[plain.valid]))
        self.mean_weight[entries] = (
            FALLOFF * self.mean_weight[entries] + (1 - FALLOFF) * total / number
        )

    def remembered(self, plain: Features) -> Tensor:
        """(B, T) mean weights of the captions' tokens; 1 for entries that never occurred."""
        assert plain.token_ids is not None
        assert plain.valid is not None
        weights = self.mean_weight[plain.token_ids]
        return torch.where(plain.valid, weights, torch.ones_like(weights))

    def foretold(self, plain: Features) -> Tensor:
        """(B, T) weights from the plain token features alone."""
        assert self.predictor is not None
        assert plain.tokens is not None
        assert plain.valid is not None
        weights = 1 + self.predictor(plain.tokens).squeeze(-1)
        return torch.where(plain.valid, weights, torch.ones_like(weights))
