"""Everything that DCAR trains."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmark import Adapter, CoupledPrompts, Features

DECAY = 0.99
"""Of the running mean of a vocabulary entry's weight, per batch that contains it."""


class Learner(nn.Module):
    """Prompts, the adapter, and token weights for captions without an image.

    Args:
        prompts: of both towers.
        adapter: of the plain text features.
        vocabulary: entries whose mean weight is tracked, 0 for none.
        width: d, for a small network that predicts weights, 0 for none.
        seed: of the network's initial weights.
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
    def update_mean_weights(self, plain: Features, weights: Tensor) -> None:
        """Move the mean weight of each vocabulary entry in the captions toward these weights."""
        assert plain.token_ids is not None
        assert plain.valid is not None
        entries, place = torch.unique(plain.token_ids[plain.valid], return_inverse=True)
        total = torch.zeros(len(entries), device=weights.device)
        number = torch.zeros_like(total)
        total.scatter_add_(0, place, weights[plain.valid])
        number.scatter_add_(0, place, torch.ones_like(weights[plain.valid]))
        self.mean_weight[entries] = DECAY * self.mean_weight[entries] + (1 - DECAY) * total / number

    def mean_weights(self, plain: Features) -> Tensor:
        """Return (B, T) mean weights of the captions' tokens; 1 for entries that never occurred."""
        assert plain.token_ids is not None
        return _where_valid(plain, self.mean_weight[plain.token_ids])

    def predicted_weights(self, plain: Features) -> Tensor:
        """Return (B, T) weights predicted from the plain token features."""
        assert self.predictor is not None
        assert plain.tokens is not None
        return _where_valid(plain, 1 + self.predictor(plain.tokens).squeeze(-1))


def _where_valid(plain: Features, weights: Tensor) -> Tensor:
    assert plain.valid is not None
    return torch.where(plain.valid, weights, torch.ones_like(weights))
