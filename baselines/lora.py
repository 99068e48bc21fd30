"""LoRA (arXiv 2106.09685): low-rank updates of the attention of both towers, all else frozen.

W x becomes W x + alpha / rank * B A x in the query and value projections, A (rank, width) drawn, B zero
at the start, so training starts from zero-shot. The layers are those of `peft`
(`pip install 'fdrd[lora]'`).

Differs from the paper, which adapts language models: both towers of CLIP, as CLIP-LoRA does (arXiv
2405.18541; that one adapts the keys too, drops out a quarter of the inputs, and classifies); no dropout;
the loss is the symmetric one of pairs; weight decay as torch's AdamW has it; no warm-up. The update is
not merged into W, which changes nothing but speed.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from benchmark import Backbone, FineTuned, LossDirection, TrainConfig, method
from fdrd.errors import FdrdError

Towers = Literal["both", "image", "text"]
_TOWERS = {"image": "vision_model", "text": "text_model", "both": "(vision|text)_model"}


def add_low_rank(
    model: nn.Module, rank: int, alpha: int, towers: Towers, seed: int
) -> nn.ModuleDict:
    """Add an update to the query and value projections; all A and B, by where they stand.

    Args:
        model: a CLIPModel, which is changed and frozen but for the updates.
        rank: of an update.
        alpha: an update is scaled by alpha / rank.
        towers: which.
        seed: of the drawn A.

    Raises:
        FdrdError: `peft` is not there, or an impossible size.
    """
    if rank < 1:
        raise FdrdError(f"lora: rank={rank}: must be at least 1")
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
    return nn.ModuleDict(
        {
            name.replace(".", "/"): module  # a dot is no part of a name there
            for name, module in model.named_modules()
            if name.endswith((".lora_A", ".lora_B"))
        }
    )


@method("lora")
def lora(
    backbone: Backbone,
    *,
    rank: int = 4,
    alpha: int = 8,
    towers: Towers = "both",
    loss: LossDirection = "symmetric",
    train: TrainConfig = TrainConfig(optimiser="adamw", learning_rate=2e-4),
    seed: int = 0,
) -> FineTuned:
    """Low-rank updates of attention in the towers (arXiv 2106.09685); needs `peft`.

    Args:
        backbone: is copied.
        rank: of an update.
        alpha: an update is scaled by alpha / rank.
        towers: which of them get updates.
        loss: symmetric, or one direction alone.
        train: the training.
        seed: of the initial updates and the order of the rows.
    """
    copied = backbone.trainable_copy()
    learner = add_low_rank(copied.model, rank, alpha, towers, seed)
    return FineTuned(copied, learner, train, seed, loss)
