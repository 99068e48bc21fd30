"""The options of `dcar`, and the variants of an ablation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmark import PairLoss
from benchmark.models.encoder_options import JOINT
from fdrd.errors import FdrdError

NEGATIVES = 4
"""Hard negatives per caption and epoch, as in the released annotations."""


@dataclass(frozen=True)
class DCARConfig:
    """Options of `dcar`.

    The paper has no code and leaves much open. `sure`, `likely` and `open` say how well each default is
    supported by its figure 2 and abstract.

    Attributes:
        n_ctx: context tokens, and visual tokens, per layer (open).
        depth: layers of both towers with prompts; -1 is at most 9, as in MaPLe; 0 trains the adapter only (open).
        beta: strength of the token weights in training; 0 for none (open).
        loss: the contrastive loss: symmetric, one direction, or the sigmoid loss of SigLIP (open).
        lambda_cate: weight of the category-aware loss (the figure adds it without a factor: likely 1).
        epsilon: relevance that other captions of the image's category share in that loss (open).
        n_attribute: number of the four negatives that swap an attribute; the others swap the category (open).
        adapter: whether the box behind the plain text tower is trained.
        layers: joint, or what the adapter reads, such as joint,0,middle,last; auto chooses how many on validation
            (not in the figure).
        second_adapter: whether a second adapter of the captions takes the place of the prompts: a control that shows
            what any second model brings (not in the figure; needs depth=0).
        adapter_epochs: epochs that it trains alone first, on cached plain features, in seconds (open).
        gamma: weight of the adapted feature in the score; 0 scores the prompted feature alone (open).

    Raises:
        FdrdError: a value is out of range, or nothing would be trained.
    """

    n_ctx: int = 4
    depth: int = -1
    beta: float = 0.5
    loss: PairLoss = "symmetric"
    lambda_cate: float = 1.0
    epsilon: float = 0.3
    n_attribute: int = 0
    adapter: bool = True
    layers: str = JOINT
    second_adapter: bool = False
    adapter_epochs: int = 60
    gamma: float = 4.0

    def __post_init__(self) -> None:
        for name in ("beta", "lambda_cate", "epsilon", "n_attribute", "adapter_epochs", "gamma"):
            if getattr(self, name) < 0:
                raise FdrdError(f"{name}={getattr(self, name):g}: must be at least 0")
        if self.n_attribute > NEGATIVES:
            raise FdrdError(f"n_attribute={self.n_attribute}: a caption has {NEGATIVES} negatives")
        if self.depth == 0 and not (self.trains_adapter or self.second_adapter):
            raise FdrdError(
                "depth=0 leaves only the adapter to train; give adapter=yes, and gamma or lambda_cate above 0"
            )
        if self.layers != JOINT and not (self.trains_adapter or self.second_adapter):
            raise FdrdError(
                "layers are read by the adapter; give adapter=yes, and gamma or lambda_cate above 0"
            )
        if self.second_adapter and (self.depth or not self.gamma):
            raise FdrdError(
                "second_adapter=yes takes the place of the prompts; give depth=0, and gamma above 0"
            )

    @property
    def trains_adapter(self) -> bool:
        """Whether a loss depends on a trained adapter."""
        return self.adapter and (self.lambda_cate > 0 or self.gamma > 0)


VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "prompts": {"beta": 0.0, "lambda_cate": 0.0, "gamma": 0.0},
    "prompts + token weights": {"lambda_cate": 0.0, "gamma": 0.0},
    "prompts + category loss": {"beta": 0.0, "epsilon": 0.0, "gamma": 0.0},
    "prompts + category loss + graded relevance": {"beta": 0.0, "gamma": 0.0},
    "whole, prompted feature scored alone": {"gamma": 0.0},
    "whole": {},
    "whole without token weights": {"beta": 0.0},
    "whole without category loss": {"lambda_cate": 0.0},
    "whole without graded relevance": {"epsilon": 0.0},
    "whole without adapter": {"adapter": False},
    "whole without prompts": {"depth": 0},
    "whole with both kinds of negatives": {"n_attribute": 2},
    "whole with attribute negatives only": {"n_attribute": 4},
    "whole, adapter and prompts from the start": {"adapter_epochs": 0},
    "whole, second adapter instead of prompts": {"depth": 0, "second_adapter": True},
    "whole, adapter reads layers": {"layers": "auto"},
}
"""Options that differ from the defaults, by the name that tables show."""
