"""Full fine-tuning: both towers of a copy of CLIP learn with CLIP's own loss (arXiv 2103.00020).

The upper reference for methods that leave the backbone frozen; it learns all of it, so a row of the
table that is below zero-shot says more about the rate and the number of rows than about CLIP.

Differs from CLIP's own training: it starts from the trained weights, with a small rate; the logit scale
stays as it is, as for all methods here; batches of 32; no random crops; no warm-up, and weight decay as
torch's AdamW has it, on all tensors.
"""

from __future__ import annotations

from torch import nn

from benchmark import Backbone, FineTuned, LossDirection, TrainConfig, method


def towers(backbone: Backbone) -> nn.ModuleDict:
    """Both towers with their projections: all of a CLIPModel but the logit scale."""
    return nn.ModuleDict(dict(backbone.model.named_children()))


@method("full")
def full(
    backbone: Backbone,
    *,
    loss: LossDirection = "symmetric",
    train: TrainConfig = TrainConfig(optimiser="adamw", learning_rate=1e-5),
    seed: int = 0,
) -> FineTuned:
    """Fine-tuning of both towers (arXiv 2103.00020), the upper reference.

    Args:
        backbone: is copied.
        loss: symmetric, or one direction alone.
        train: the training.
        seed: of the order of the rows.
    """
    copied = backbone.trainable_copy()
    return FineTuned(copied, towers(copied), train, seed, loss)
