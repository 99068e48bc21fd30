"""Everything that DCAR trains."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmark import Adapter, Backbone, CoupledPrompts, Features, Prompts

DECAY = 0.99
"""Of the running mean of a vocabulary entry's weight, per batch that contains it."""


class Learner(nn.Module):
    """Prompts, adapters, their share in the score, and token weights for captions without an image.

    Args:
        prompts: of both towers.
        adapter: of the plain text features.
        image_adapter: of the image features that adapted captions are compared with; only `dcar_plus` has it.
        gamma: initial value of the adapters' share if it is learned, else 0.
        late: prompts enter the towers with the first step that trains them.
        vocabulary: entries whose mean weight is tracked, 0 for none.
        width: d, for a small network that predicts weights, 0 for none.
        seed: of the network's initial weights.
    """

    def __init__(
        self,
        prompts: CoupledPrompts,
        adapter: Adapter,
        image_adapter: Adapter | None = None,
        *,
        gamma: float = 0.0,
        late: bool = False,
        vocabulary: int = 0,
        width: int = 0,
        seed: int = 0,
    ):
        super().__init__()
        self.prompts = prompts
        self.adapter = adapter
        self.image_adapter = image_adapter
        self.log_gamma = nn.Parameter(torch.tensor(gamma).log()) if gamma else None
        self.entered: Tensor | None
        self.register_buffer("entered", torch.tensor(False) if late else None)
        self.mean_weight: Tensor
        self.updates: Tensor
        if vocabulary:
            self.register_buffer("mean_weight", torch.zeros(vocabulary))
            self.register_buffer("updates", torch.zeros(vocabulary))
            self._register_load_state_dict_pre_hook(_without_updates)  # type: ignore[no-untyped-call]
        self.predictor: nn.Sequential | None = None
        if width:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                hidden = max(width // 4, 1)
                self.predictor = nn.Sequential(
                    nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 1)
                )

    def without_prompts(self, backbone: Backbone) -> Learner:
        """Return a learner that has the same adapters, shared with this one, and no prompts."""
        nothing = CoupledPrompts(backbone, 1, "", 0, "independent", 0)
        alone = Learner(nothing, self.adapter, self.image_adapter)
        alone.log_gamma = self.log_gamma
        return alone

    def enter(self) -> None:
        """Let the prompts enter the towers from now on."""
        if self.entered is not None:
            self.entered.fill_(True)

    def entered_prompts(self) -> Prompts:
        """Return the prompts, or none before they have entered."""
        if self.entered is not None and not self.entered:
            return Prompts()
        prompts: Prompts = self.prompts()
        return prompts

    def adapted_image(self, images: Tensor) -> Tensor:
        """Return (B, d) image features, through the image adapter if there is one."""
        return images if self.image_adapter is None else self.image_adapter(images)

    def scored_share(self, gamma: float) -> float | Tensor:
        """Return the adapters' share in the score, learned or as given."""
        return gamma if self.log_gamma is None else self.log_gamma.exp()

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
        self.updates[entries] += 1

    def mean_weights(self, plain: Features) -> Tensor:
        """Return (B, T) mean weights of the captions' tokens; 1 for entries that never occurred.

        The running mean starts at 0, so it is divided by the share of it that was seen, as in Adam.
        """
        assert plain.token_ids is not None
        mean = self.mean_weight / (1 - DECAY**self.updates)
        mean = torch.where(self.updates > 0, mean, torch.ones_like(mean))
        return _where_valid(plain, mean[plain.token_ids])

    def predicted_weights(self, plain: Features) -> Tensor:
        """Return (B, T) weights predicted from the plain token features."""
        assert self.predictor is not None
        assert plain.tokens is not None
        return _where_valid(plain, 1 + self.predictor(plain.tokens).squeeze(-1))


def _without_updates(state: dict[str, Tensor], *_rest: object) -> None:
    """Complete a checkpoint of version 0.1, whose running mean started at 1: it needs no correction."""
    if "mean_weight" in state and "updates" not in state:
        state["updates"] = torch.full_like(state["mean_weight"], torch.inf)


def _where_valid(plain: Features, weights: Tensor) -> Tensor:
    assert plain.valid is not None
    return torch.where(plain.valid, weights, torch.ones_like(weights))
