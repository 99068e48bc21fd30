"""CLIP-Adapter (arXiv 2110.04544): a small residual bottleneck behind a frozen tower.

x becomes ratio * ReLU(W2 ReLU(W1 x)) + (1 - ratio) * x, normalized to unit length. Only frozen features are
used. Once they are cached, training runs no tower.

Differs from the paper: the text side is adapted by default (the released code adapts images, but there
captions are a short list of class names). Training uses whole captions, a symmetric loss over pairs
(`-M loss=image_to_text` is the paper's direction), AdamW, batches of 256 and 50 epochs instead of SGD, and no
random crops.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from benchmark import Adapter, Encoder, Features, PairLoss, TrainConfig, method
from benchmark.training.trained_method import TrainedMethod

Side = Literal["text", "image", "both"]
Form = Literal["bottleneck", "residual", "linear"]


@method("clip_adapter", trains="adapter")
def clip_adapter(
    backbone: Encoder,
    *,
    side: Side = "text",
    form: Form = "bottleneck",
    reduction: float = 4,
    ratio: float = 0.2,
    loss: PairLoss = "symmetric",
    train: TrainConfig = TrainConfig(
        epochs=50, batch_size=256, optimizer="adamw", learning_rate=1e-3
    ),
    seed: int = 0,
) -> TrainedMethod:
    """Train a residual bottleneck behind frozen features (arXiv 2110.04544).

    Args:
        backbone: stays frozen.
        side: which features are adapted.
        form: the paper's bottleneck; residual, which starts as the identity; or linear, the same with
            one layer.
        reduction: the hidden layer is this many times narrower than the joint space; 0.25 is four times wider.
        ratio: share of the learned part in the result.
        loss: symmetric, one direction only, or the sigmoid loss of SigLIP.
        train: training settings.
        seed: seed of the initial weights and the order of the rows.
    """
    sides = ("image", "text") if side == "both" else (side,)
    adapters = nn.ModuleDict(
        {
            name: Adapter(backbone.dim, form, reduction, ratio, seed + number)
            for number, name in enumerate(sides)
        }
    )

    def adapted(name: str, features: Features) -> Features:
        return Features(adapters[name](features.pooled)) if name in adapters else features

    return TrainedMethod(
        backbone,
        adapters,
        train,
        seed,
        encode_image=lambda images: adapted("image", backbone.encode_image(images)),
        encode_text=lambda captions: adapted("text", backbone.encode_text(captions)),
        loss=loss,
    )
