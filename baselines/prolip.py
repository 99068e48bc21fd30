"""ProLIP (arXiv 2410.05270): fine-tune the last projection of the image tower, held near its start.

The matrix W from the image tower into the joint space is all that is trained, and lambda |W - W0|^2 is added to the
loss; the paper takes 1 / shots.

Differs from the paper: whole captions replace the class names, in a symmetric contrastive loss of pairs
(`-M loss=image_to_text` is the paper's direction). `side` can name the projection of the text tower, or both. The
paper feeds precomputed features of augmented images into the matrix; here the towers run in each step, without
gradients. AdamW with torch's weight decay instead of Adam, no random crops. The weight of
the penalty does not depend on the number of shots, and follows the scale of the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from benchmark import Backbone, Batch, FineTuned, PairLoss, TrainConfig, method
from benchmark.models.backbone import WEIGHTS
from fdrd.errors import FdrdError

Side = Literal["image", "text", "both"]
_PROJECTIONS = {"image": "visual_projection", "text": "text_projection"}


def projections(backbone: Backbone, side: Side) -> nn.ModuleDict:
    """Return the last projections by name, the only weights that stay trainable.

    Args:
        backbone: changed in place.
        side: whose projections.

    Raises:
        FdrdError: the model has none.
    """
    backbone.model.requires_grad_(False)
    found = nn.ModuleDict()
    for name in _PROJECTIONS if side == "both" else (side,):
        module = getattr(backbone.model, _PROJECTIONS[name], None)
        if not isinstance(module, nn.Linear):
            raise FdrdError(
                f"prolip: the {name} tower of backbone {backbone.name!r} ends without a linear projection; "
                "choose a CLIP model"
            )
        found[_PROJECTIONS[name]] = module.requires_grad_(True)
    return found


@method("prolip", needs=WEIGHTS, trains="last projection")
def prolip(
    backbone: Backbone,
    *,
    side: Side = "image",
    penalty: float = 1.0,
    loss: PairLoss = "symmetric",
    train: TrainConfig = TrainConfig(optimizer="adamw", learning_rate=1e-4),
    seed: int = 0,
) -> FineTuned:
    """Fine-tune the last projection, held near its start (arXiv 2410.05270).

    Args:
        side: whose projection is trained.
        penalty: weight of the squared distance from the start, at a scale of 100.

    Raises:
        FdrdError: a negative weight, or a model without such projections.
    """
    if penalty < 0:
        raise FdrdError(f"prolip: penalty={penalty:g}: must be at least 0")
    copied = backbone.trainable_copy()
    learner = projections(copied, side)
    start = [each.detach().clone() for each in learner.parameters()]

    def near_the_start(batch: Batch, negatives: Sequence[str] = ()) -> Tensor:
        contrast = tuned.contrast(loss)(batch, negatives)
        far = sum(
            (now - before).square().sum()
            for now, before in zip(learner.parameters(), start, strict=True)
        )
        return contrast + penalty * batch.penalty_share(copied) * far

    tuned = FineTuned(copied, learner, train, seed, near_the_start)
    return tuned
