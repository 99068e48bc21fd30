"""MaPLe (arXiv 2210.03117): context vectors in the text tower, visual tokens that are a function of them.

Each of the first `depth` layers of the text tower has context vectors of its own, and a linear coupling
function that makes visual tokens for the same layer of the image tower from them.

Differs from the paper: whole captions stand where the class names stood, so a batch of pairs takes the
place of the class list, and context vectors get slots of their own, where the paper overwrites those
of "a photo of a"; the loss is symmetric (`-M loss=image_to_text` is the paper's direction); batches of 32
for 10 epochs instead of 4 for 5, since the rivals of a pair are those of its batch; no random crops
and flips; no warm-up epoch; float32 instead of float16. On a backbone of fewer than 9 layers the
default depth is all of them.
"""

from __future__ import annotations

from benchmark import (
    Backbone,
    CoupledPrompts,
    Coupling,
    LossDirection,
    PromptMethod,
    TrainConfig,
    method,
)
from benchmark.training.prompt_learners import at_most
from fdrd.errors import FdrdError

DEPTH = 9
"""The paper's, of the 12 layers of ViT-B/16."""


@method("maple")
def maple(
    backbone: Backbone,
    *,
    n_ctx: int = 2,
    depth: int = -1,
    ctx_init: str = "a photo of a",
    coupling: Coupling = "linear",
    loss: LossDirection = "symmetric",
    train: TrainConfig = TrainConfig(learning_rate=0.0035),
    seed: int = 0,
) -> PromptMethod:
    """Context vectors, and visual tokens that are coupled to them (arXiv 2210.03117).

    Args:
        backbone: stays frozen.
        n_ctx: context vectors, and so visual tokens, per layer.
        depth: layers of both towers with prompts; -1 is the paper's 9, or all where there are fewer.
        ctx_init: words whose first n_ctx tokens the first layer starts from; else random.
        coupling: linear as in the paper, a small mlp, or independent visual tokens.
        loss: symmetric, or one direction alone.
        train: the training.
        seed: of the initial values and the order of the rows.

    Raises:
        FdrdError: depth 0, which leaves nothing to learn.
    """
    depth = prompted_layers(backbone, depth, "maple")
    learner = CoupledPrompts(backbone, n_ctx, ctx_init, depth, coupling, seed)
    return PromptMethod(backbone, learner, train, seed, loss)


def prompted_layers(backbone: Backbone, depth: int, whose: str) -> int:
    """How many layers of both towers get prompts.

    Raises:
        FdrdError: none, which leaves nothing to learn.
    """
    if depth == 0:
        raise FdrdError(f"{whose}: depth=0 leaves nothing to learn; raise it, or run zero_shot")
    if depth == -1:
        return at_most(backbone, DEPTH)
    return depth
