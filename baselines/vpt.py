"""VPT (arXiv 2203.12119): learned visual tokens in a frozen image tower, deep or shallow.

Shallow is tokens at the first layer (`-M depth=1`), deep is fresh tokens at every layer, which is the
paper's stronger variant and the default. The text tower is plain, so a caption is read once.

Differs from the paper: CLIP takes the place of a classifier with a learned head, so the loss is over
pairs, and symmetric; tokens stand behind the patches instead of before them, and start from
N(0, 0.02^2) instead of a uniform draw; no dropout on them; a few instead of up to 200; no random
crops and flips; no warm-up.
"""

from __future__ import annotations

from benchmark import Backbone, LossDirection, PromptMethod, TrainConfig, VisualTokens, method
from fdrd.errors import FdrdError


@method("vpt")
def vpt(
    backbone: Backbone,
    *,
    n_vis: int = 4,
    depth: int = -1,
    loss: LossDirection = "symmetric",
    train: TrainConfig = TrainConfig(learning_rate=0.0025),
    seed: int = 0,
) -> PromptMethod:
    """Learned visual tokens in the image tower alone (arXiv 2203.12119).

    Args:
        backbone: stays frozen.
        n_vis: visual tokens per layer.
        depth: layers that get fresh ones; 1 is the shallow variant, -1 every layer.
        loss: symmetric, or one direction alone.
        train: the training.
        seed: of the initial tokens and the order of the rows.

    Raises:
        FdrdError: depth 0, which leaves nothing to learn.
    """
    if depth == 0:
        raise FdrdError("vpt: depth=0 leaves nothing to learn; raise it, or run zero_shot")
    depth = backbone.vision_layers if depth == -1 else depth
    return PromptMethod(backbone, VisualTokens(backbone, n_vis, depth, seed), train, seed, loss)
