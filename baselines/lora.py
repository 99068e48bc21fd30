"""LoRA (arXiv 2106.09685): low-rank updates of the attention in both towers, everything else frozen.

W x becomes W x + alpha / rank * B A x in the query and value projections. A (rank, width) is random and B starts
at zero, so training starts from zero-shot. The layers come from `peft` (`pip install 'fdrd[lora]'`).

Differs from the paper, which adapts language models: both towers of CLIP are adapted, as in CLIP-LoRA (arXiv
2405.18541, which also adapts the keys, uses dropout of 0.25, and classifies). No dropout, the symmetric loss of
pairs, torch's AdamW weight decay, no warm-up. CLIP-LoRA takes 500 steps per shot and keeps the last state; its budget
at 16 shots is `-T steps=8000`, the default here is 10 epochs. The update is not merged into W, which only affects
speed.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from benchmark import Backbone, FineTuned, PairLoss, TrainConfig, method
from benchmark.models.backbone import WEIGHTS
from fdrd.errors import FdrdError

Towers = Literal["both", "image", "text"]
HIGHEST_RANK = 1024
"""As wide as the towers of most models; a checkpoint of a stranger states its own rank."""
_TOWERS = {"image": "vision_model", "text": "text_model", "both": "(vision|text)_model"}


def add_low_rank(
    model: nn.Module, rank: int, alpha: int, towers: Towers, seed: int
) -> nn.ModuleDict:
    """Add an update to the query and value projections and return all A and B by location; freeze everything else.

    Raises:
        FdrdError: `peft` is not installed, or rank or alpha is outside its range.
    """
    if not 1 <= rank <= HIGHEST_RANK:
        raise FdrdError(f"lora: rank={rank}: must be between 1 and {HIGHEST_RANK}")
    if alpha < 1:
        raise FdrdError(f"lora: alpha={alpha}: must be at least 1")
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise FdrdError(
            f"lora needs peft ({error}); install it with pip install 'fdrd[lora]'"
        ) from error
    layers = rf"{_TOWERS[towers]}\..*\.(q_proj|v_proj)"
    model.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, target_modules=layers), model)
    modules = model.named_modules()
    added = {name: module for name, module in modules if name.endswith((".lora_A", ".lora_B"))}
    # Keys of a ModuleDict must not contain dots.
    return nn.ModuleDict({name.replace(".", "/"): module for name, module in added.items()})


@method("lora", needs=WEIGHTS, trains="low-rank updates of both towers")
def lora(
    backbone: Backbone,
    *,
    rank: int = 4,
    alpha: int = 8,
    towers: Towers = "both",
    loss: PairLoss = "symmetric",
    train: TrainConfig = TrainConfig(optimizer="adamw", learning_rate=2e-4),
    seed: int = 0,
) -> FineTuned:
    """Train low-rank updates of the attention (arXiv 2106.09685); needs `peft`.

    Args:
        rank: rank of an update.
        alpha: an update is scaled by alpha / rank.
        towers: which towers to adapt.
    """
    copied = backbone.trainable_copy()
    learner = add_low_rank(copied.model, rank, alpha, towers, seed)
    return FineTuned(copied, learner, train, seed, loss)
