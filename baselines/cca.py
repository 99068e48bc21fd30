"""Regularized canonical correlation analysis over frozen features, in closed form (Hotelling 1936; Vinod 1976).

Covariances of the training pairs decide one linear map per side, see `benchmark.training.closed_form`; no gradient
step is taken. Pairs weigh equally, so an image with five captions counts five times. Regularizers, the power of
the singular values and, with `layers=auto`, the layers are chosen on the validation split. So is the joint
space without a map, which remains where no map is better, as with very few images.

`kind=ridge` regresses one side on the other, whichever is better on validation; `kind=procrustes` rotates both.
"""

from __future__ import annotations

import logging
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from benchmark import Encoder, Features, FitLog, method
from benchmark.models.encoder_options import JOINT
from benchmark.models.layers import BlockEncoder
from benchmark.registry import QUIET, Needs, TrainContext
from benchmark.training.closed_form import Kind, Side, choose
from benchmark.training.trained_method import cosine
from fdrd.dataset import RetrievalDataset

log = logging.getLogger(__name__)


class LinearMap(nn.Module):
    """Map features (B, D) to (B, k) unit features; k is at most K, and the joint space before `use` is called.

    Args:
        dim: width of the joint space, the first columns.
        inputs: D.
        most: K.
    """

    mean: Tensor
    map: Tensor
    outputs: Tensor

    def __init__(self, dim: int, inputs: int, most: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("map", torch.eye(inputs, most))
        self.register_buffer("outputs", torch.tensor(dim))

    def use(self, side: Side) -> None:
        """Use a map of the first columns."""
        inputs, outputs = side.map.shape
        self.mean.zero_()[:inputs] = side.mean
        self.map.zero_()[:inputs, :outputs] = side.map
        self.outputs.fill_(outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Return unit features."""
        return normalize((features - self.mean) @ self.map[:, : int(self.outputs)], dim=-1)


class CCA:
    """Linear maps of frozen features, scored by cosine; arguments as `cca`."""

    trains: Literal["statistics"] = "statistics"

    def __init__(self, backbone: Encoder, kind: Kind, layers: str):
        self.backbone = backbone
        self.kind = kind
        self.blocks = BlockEncoder(backbone, layers)
        widths = self.blocks.image_dim, self.blocks.text_dim
        most = max(widths) if kind == "ridge" else min(widths)
        self.image, self.text = (
            LinearMap(min(self.blocks.sets[0]), width, most) for width in widths
        )
        self.learner = nn.ModuleDict({"image": self.image, "text": self.text}).to(backbone.device)
        self.encode_image = lambda images: Features(self.image(self.blocks.encode_image(images)))
        self.encode_text = lambda captions: Features(self.text(self.blocks.encode_text(captions)))
        self.similarity = cosine

    def fit(
        self, train: RetrievalDataset, validation: RetrievalDataset, context: TrainContext = QUIET
    ) -> FitLog:
        """Solve for the training pairs, and choose on validation."""
        found = choose(self.blocks, train, validation, self.kind, context.progress)
        if found.maps is None:
            log.warning("cca: no map is better than the joint space on validation, which stays")
        else:
            self.image.use(found.maps.image)
            self.text.use(found.maps.text)
        return FitLog(untrained_mrr=found.joint_mrr, zero_shot_mrr=found.joint_mrr)


@method("cca", needs=Needs(joint=False), trains="nothing; uses statistics")
def cca(backbone: Encoder, *, kind: Kind = "cca", layers: str = JOINT) -> CCA:
    """Map frozen features by canonical correlation analysis, in closed form (Hotelling 1936).

    Args:
        kind: canonical correlation, regression of one side on the other, or a rotation.
        layers: joint, or blocks such as joint,0,middle,last; auto chooses how many on validation.
    """
    return CCA(backbone, kind, layers)
