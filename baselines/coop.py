"""CoOp (arXiv 2109.01134): learned context vectors in front of the text, both towers frozen.

Differs from the paper: whole captions stand where the class names stood, so a batch of pairs takes
the place of the class list; the loss is symmetric (`-M loss=image_to_text` is the paper's
direction); no random crops and flips; no warm-up epoch. The paper's other variant, context per
class, has no meaning for captions.
"""

from __future__ import annotations

from benchmark import Backbone, ContextVectors, LossDirection, PromptMethod, TrainConfig, method


@method("coop")
def coop(
    backbone: Backbone,
    *,
    n_ctx: int = 16,
    ctx_init: str = "",
    loss: LossDirection = "symmetric",
    train: TrainConfig = TrainConfig(),
    seed: int = 0,
) -> PromptMethod:
    """Learned context vectors in front of every caption (arXiv 2109.01134).

    Args:
        backbone: stays frozen.
        n_ctx: context vectors.
        ctx_init: words that the first vectors start from, such as "a photo of"; else random.
        loss: symmetric, or one direction alone.
        train: the training.
        seed: of the initial vectors and the order of the rows.
    """
    learner = ContextVectors(backbone, n_ctx, ctx_init, depth=1, seed=seed)
    return PromptMethod(backbone, learner, train, seed, loss)
