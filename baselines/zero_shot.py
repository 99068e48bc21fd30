"""Zero-shot CLIP (arXiv 2103.00020): the backbone as it is, captions as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from benchmark import AnyImages, Backbone, Features, FitLog, Progress, method, silent
from fdrd.dataset import RetrievalDataset


class ZeroShot:
    """Cosines of a frozen backbone's features."""

    trains: Literal["nothing"] = "nothing"
    learner = None

    def __init__(self, backbone: Backbone):
        self.backbone = backbone

    def fit(
        self, train: RetrievalDataset, validation: RetrievalDataset, progress: Progress = silent
    ) -> FitLog:
        """Nothing to learn."""
        return FitLog()

    def encode_image(self, images: AnyImages) -> Features:
        """Features of B images."""
        return self.backbone.encode_image(images)

    def encode_text(self, captions: Sequence[str]) -> Features:
        """Features of B captions."""
        return self.backbone.encode_text(captions)

    def similarity(self, images: Features, texts: Features) -> Tensor:
        """(I, C) cosines."""
        return images.pooled @ texts.pooled.T


@method("zero_shot")
def zero_shot(backbone: Backbone) -> ZeroShot:
    """The backbone without training: what every method must beat in both directions."""
    return ZeroShot(backbone)
