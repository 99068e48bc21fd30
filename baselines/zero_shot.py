"""Zero-shot CLIP (arXiv 2103.00020): the backbone and the captions unchanged."""

from __future__ import annotations

from typing import Literal

from benchmark import Encoder, FitLog, method
from benchmark.registry import QUIET, TrainContext
from benchmark.training.trained_method import cosine
from fdrd.dataset import RetrievalDataset


class ZeroShot:
    """Cosines of a frozen backbone's features."""

    trains: Literal["nothing"] = "nothing"
    learner = None

    def __init__(self, backbone: Encoder):
        self.encode_image = backbone.encode_image
        self.encode_text = backbone.encode_text
        self.similarity = cosine

    def fit(
        self, train: RetrievalDataset, validation: RetrievalDataset, context: TrainContext = QUIET
    ) -> FitLog:
        """Train nothing."""
        return FitLog()


@method("zero_shot", role="reference", trains="nothing")
def zero_shot(backbone: Encoder) -> ZeroShot:
    """Score the backbone without training: the baseline for both directions."""
    return ZeroShot(backbone)
