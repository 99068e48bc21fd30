"""CoPrompt (arXiv 2306.01195, github.com/ShuvenduRoy/CoPrompt): MaPLe and adapters, held near the frozen CLIP.

MaPLe's coupled prompts act inside both towers, a bottleneck of CLIP-Adapter behind each. A consistency loss,
1 - cosine, keeps the features of images and captions near those of the frozen model.

Differs from the paper: the frozen text tower reads the caption itself, where the paper reads a sentence about the
class by a language model, and the frozen image tower sees the same image, where the paper augments it. Whole
captions replace the class names, in positions of their own after the context. The contrastive loss is symmetric
(`-M loss=image_to_text` is the paper's direction). Batches of 32 for 10 epochs instead of 4 for 8, because a pair
is contrasted only within its batch. The paper chooses the weight of the consistency per data set; 8 is the default
of its code. No random crops and flips, no warm-up epoch, float32. Frozen features are cached.
"""

from __future__ import annotations

import torch
from torch import Tensor

from baselines.maple import prompted_layers
from baselines.maple_adapter import PromptsAndAdapters
from benchmark.models.backbone import PROMPTS, Backbone
from benchmark.registry import method
from benchmark.settings import LossDirection, TrainConfig
from benchmark.training.learners import Adapter, CoupledPrompts
from benchmark.training.loop import Batch
from benchmark.training.losses import info_nce
from benchmark.training.trained_method import TrainedMethod, cosine
from fdrd.errors import FdrdError


def inconsistency(learned: Tensor, frozen: Tensor) -> Tensor:
    """Return the mean of 1 - cosine over B pairs of unit features (B, d).

    >>> float(inconsistency(torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])))
    0.5
    """
    return 1 - (learned * frozen).sum(dim=1).mean()


@method("coprompt", needs=PROMPTS, trains="prompts and adapters")
def coprompt(
    backbone: Backbone,
    *,
    n_ctx: int = 2,
    depth: int = -1,
    ctx_init: str = "a photo of a",
    image_ratio: float = 0.1,
    text_ratio: float = 0.2,
    reduction: int = 4,
    consistency: float = 8.0,
    loss: LossDirection = "symmetric",
    train: TrainConfig = TrainConfig(learning_rate=0.0035),
    seed: int = 0,
) -> TrainedMethod:
    """Train MaPLe and adapters, consistent with the frozen backbone (arXiv 2306.01195).

    Args:
        n_ctx: context vectors, and therefore visual tokens, per layer.
        image_ratio: share of the image adapter in the result.
        text_ratio: share of the text adapter in the result.
        reduction: the bottlenecks are this many times narrower than the joint space.
        consistency: weight of the consistency loss at a scale of 100.
        loss: symmetric, or one direction only.

    Raises:
        FdrdError: a negative weight, or depth is 0.
    """
    if consistency < 0:
        raise FdrdError(f"coprompt: consistency={consistency:g}: must be at least 0")
    depth = prompted_layers(backbone, depth, "coprompt")
    learner = PromptsAndAdapters(
        backbone,
        CoupledPrompts(backbone, n_ctx, ctx_init, depth, "linear", seed),
        image=Adapter(backbone.dim, "bottleneck", reduction, image_ratio, seed + 1),
        text=Adapter(backbone.dim, "bottleneck", reduction, text_ratio, seed + 2),
    )

    def consistent(batch: Batch) -> Tensor:
        images, texts = learner.encode_image(batch.images), learner.encode_text(batch.captions)
        with torch.no_grad():
            plain_images = backbone.encode_image(batch.images)
            plain_texts = backbone.encode_text(batch.captions, reserve=n_ctx)
        logits = batch.scale_of(backbone) * cosine(images, texts)
        far = inconsistency(images.pooled, plain_images.pooled)
        far = far + inconsistency(texts.pooled, plain_texts.pooled)
        return (
            info_nce(logits, loss, batch.repeats)
            + consistency * batch.penalty_share(backbone) * far
        )

    return TrainedMethod(
        backbone,
        learner,
        train,
        seed,
        encode_image=learner.encode_image,
        encode_text=learner.encode_text,
        loss=consistent,
    )
