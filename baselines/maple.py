"""MaPLe (arXiv 2210.03117): context vectors in the text tower, and visual tokens computed from them.

Each of the first `depth` layers of the text tower has its own context vectors. A linear coupling function turns
them into visual tokens for the same layer of the image tower.

Differs from the paper: whole captions replace the class names, so a batch of pairs replaces the class list.
Context vectors get their own positions, where the paper overwrites those of "a photo of a". The loss is symmetric
(`-M loss=image_to_text` is the paper's direction). Batches of 32 for 10 epochs instead of 4 for 5, because a pair
is contrasted only within its batch, and the best epoch on validation instead of the last. That is a quarter of the
paper's steps (`-T steps=1000`). The authors' code gives all deeper coupling functions the same initial values,
here each draws its own. No random crops and flips, no warm-up epoch, float32 instead of float16. If
the backbone has fewer than 9 layers, the default depth is all of them.
"""

from __future__ import annotations

from benchmark.models.backbone import PROMPTS, Backbone
from benchmark.registry import method
from benchmark.settings import PairLoss, TrainConfig
from benchmark.training.learners import CoupledPrompts, Coupling, PromptMethod, at_most
from fdrd.errors import FdrdError

DEPTH = 9
"""The paper's depth, for the 12 layers of ViT-B/16."""


@method("maple", needs=PROMPTS, trains="prompts in both towers")
def maple(
    backbone: Backbone,
    *,
    n_ctx: int = 2,
    depth: int = -1,
    ctx_init: str = "a photo of a",
    coupling: Coupling = "linear",
    loss: PairLoss = "symmetric",
    train: TrainConfig = TrainConfig(learning_rate=0.0035),
    seed: int = 0,
) -> PromptMethod:
    """Train context vectors with visual tokens coupled to them (arXiv 2210.03117).

    Args:
        n_ctx: context vectors, and therefore visual tokens, per layer.

    Raises:
        FdrdError: depth is 0, so nothing would be trained.
    """
    depth = prompted_layers(backbone, depth, "maple")
    learner = CoupledPrompts(backbone, n_ctx, ctx_init, depth, coupling, seed)
    return PromptMethod(backbone, learner, train, seed, loss)


def prompted_layers(backbone: Backbone, depth: int, method_name: str) -> int:
    """Return how many layers of both towers get prompts.

    Raises:
        FdrdError: depth is 0, so nothing would be trained.
    """
    if depth == 0:
        raise FdrdError(
            f"{method_name}: depth=0 leaves nothing to train; raise it, or run zero_shot"
        )
    return at_most(backbone, DEPTH) if depth == -1 else depth
