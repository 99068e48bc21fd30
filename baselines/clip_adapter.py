"""CLIP-Adapter (arXiv 2110.04544): a small residual bottleneck behind a frozen tower.

x becomes ratio * ReLU(W2 ReLU(W1 x)) + (1 - ratio) * x, normalized to unit length. Only frozen features are
used. Once they are cached, training runs no tower. With `layers`, the bottleneck reads layers of the tower behind x.

Differs from the paper: the text side is adapted by default (the released code adapts images, but there
captions are a short list of class names). Training uses whole captions, a symmetric loss over pairs
(`-M loss=image_to_text` is the paper's direction), AdamW, batches of 256 and 50 epochs instead of SGD, and no
random crops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import nn

from benchmark.models.backbone import Encoder, Features
from benchmark.models.encoder_options import JOINT
from benchmark.models.image_batches import AnyImages
from benchmark.models.layers import BlockEncoder
from benchmark.registry import TrainContext, method
from benchmark.settings import PairLoss, TrainConfig
from benchmark.training.closed_form import choose
from benchmark.training.learners import Adapter
from benchmark.training.trained_method import TrainedMethod
from fdrd.dataset import RetrievalDataset

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
    layers: str = JOINT,
    loss: PairLoss = "symmetric",
    train: TrainConfig = TrainConfig(
        epochs=50, batch_size=256, optimizer="adamw", learning_rate=1e-3
    ),
    seed: int = 0,
) -> TrainedMethod:
    """Train a residual bottleneck behind frozen features (arXiv 2110.04544).

    Args:
        side: which features are adapted.
        form: the paper's bottleneck; residual, which starts as the identity; or linear, the same with
            one layer.
        reduction: the hidden layer is this many times narrower than the joint space; 0.25 is four times wider.
        layers: joint, or what an adapter reads, such as joint,0,middle,last; auto chooses how many on validation.
    """
    blocks = BlockEncoder(backbone, layers)
    inputs = {"image": blocks.image_dim, "text": blocks.text_dim}
    sides = ("image", "text") if side == "both" else (side,)
    adapters = {
        name: Adapter(backbone.dim, form, reduction, ratio, seed + index, inputs[name])
        for index, name in enumerate(sides)
    }

    def choose_layers(
        rows: RetrievalDataset, validation: RetrievalDataset, context: TrainContext
    ) -> None:
        """Choose what the adapters read in closed form, if there is a choice."""
        if len(blocks.sets) > 1:
            found = choose(blocks, rows, validation, progress=context.progress)
            for name, columns in zip(("image", "text"), found.columns, strict=True):
                if name in adapters:
                    adapters[name].use(columns)

    def encode_image(images: AnyImages) -> Features:
        return Features(adapters["image"](blocks.encode_image(images)))

    def encode_text(captions: Sequence[str]) -> Features:
        return Features(adapters["text"](blocks.encode_text(captions)))

    return TrainedMethod(
        backbone,
        nn.ModuleDict(adapters),
        train,
        seed,
        encode_image=encode_image if "image" in adapters else None,
        encode_text=encode_text if "text" in adapters else None,
        loss=loss,
        prepare=choose_layers,
    )
