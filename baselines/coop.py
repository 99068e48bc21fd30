"""CoOp (arXiv 2109.01134): learned context vectors before the text, with both towers frozen.

Differs from the paper: whole captions replace the class names, so a batch of pairs replaces the class list.
The loss is symmetric (`-M loss=image_to_text` is the paper's direction). 10 epochs instead of 200 at 16 shots, and the
best state on validation instead of the last. Four vectors that start from "a photo of a", where the paper's default
is 16 random ones (`-M n_ctx=16 -M ctx_init=`): those start far below zero-shot on whole captions. No random crops and
flips, no warm-up epoch. The paper's class-specific context has no meaning for captions.
"""

from __future__ import annotations

from benchmark import Backbone, ContextVectors, PairLoss, PromptMethod, TrainConfig, method
from benchmark.models.backbone import PROMPTS


@method("coop", needs=PROMPTS, trains="context vectors")
def coop(
    backbone: Backbone,
    *,
    n_ctx: int = 4,
    ctx_init: str = "a photo of a",
    loss: PairLoss = "symmetric",
    train: TrainConfig = TrainConfig(),
    seed: int = 0,
) -> PromptMethod:
    """Train context vectors before every caption (arXiv 2109.01134)."""
    learner = ContextVectors(backbone, n_ctx, ctx_init, depth=1, seed=seed)
    return PromptMethod(backbone, learner, train, seed, loss)
