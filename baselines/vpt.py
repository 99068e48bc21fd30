"""VPT (arXiv 2203.12119): learned visual tokens in a frozen image tower, deep or shallow.

Shallow means tokens at the first layer only (`-M depth=1`). Deep means new tokens at every layer, the paper's
stronger variant and the default. The text tower is unchanged, so each caption is encoded once.

Differs from the paper: CLIP replaces a classifier with a learned head, so the loss is over pairs, and symmetric
(`-M loss=image_to_text` is the paper's direction).
Tokens follow the patches instead of preceding them, and start from N(0, 0.02^2) instead of a uniform
distribution. 10 epochs instead of 100, and the best on validation. No dropout, a few tokens
instead of up to 200, no random crops and flips, no warm-up.
"""

from __future__ import annotations

from benchmark import Backbone, PairLoss, PromptMethod, TrainConfig, VisualTokens, method
from benchmark.models.backbone import PROMPTS
from fdrd.errors import FdrdError


@method("vpt", needs=PROMPTS, trains="visual tokens")
def vpt(
    backbone: Backbone,
    *,
    n_vis: int = 4,
    depth: int = -1,
    loss: PairLoss = "symmetric",
    train: TrainConfig = TrainConfig(learning_rate=0.0025),
    seed: int = 0,
) -> PromptMethod:
    """Train visual tokens in the image tower only (arXiv 2203.12119).

    Args:
        n_vis: visual tokens per layer.
        depth: layers that get new tokens; 1 is the shallow variant, -1 every layer.

    Raises:
        FdrdError: depth is 0, so nothing would be trained.
    """
    if depth == 0:
        raise FdrdError("vpt: depth=0 leaves nothing to train; raise it, or run zero_shot")
    depth = backbone.vision_layers if depth == -1 else depth
    return PromptMethod(backbone, VisualTokens(backbone, n_vis, depth, seed), train, seed, loss)
