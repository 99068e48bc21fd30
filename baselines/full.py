"""Full fine-tuning: both towers of a copy of CLIP train with CLIP's own loss (arXiv 2103.00020).

This is the upper reference for methods that freeze the backbone. A row below zero-shot says more about the
learning rate and the number of rows than about CLIP.

Differs from CLIP's own training: it starts from the trained weights with a small learning rate. The logit scale
is frozen by default (`-T scale=learned`). Batches of 32, no random crops, no warm-up, and torch's AdamW weight decay on
all tensors.
"""

from __future__ import annotations

from benchmark import Backbone, FineTuned, PairLoss, TrainConfig, method
from benchmark.models.backbone import WEIGHTS
from benchmark.training.trained_method import towers_of


@method("full", needs=WEIGHTS, trains="both towers")
def full(
    backbone: Backbone,
    *,
    loss: PairLoss = "symmetric",
    train: TrainConfig = TrainConfig(optimizer="adamw", learning_rate=1e-5),
    seed: int = 0,
) -> FineTuned:
    """Fine-tune both towers (arXiv 2103.00020), the upper reference."""
    copied = backbone.trainable_copy()
    return FineTuned(copied, towers_of(copied), train, seed, loss)
