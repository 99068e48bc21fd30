"""Methods that learn weights of the backbone itself, on a copy of it, and score by cosine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from torch import Tensor, nn

from benchmark.models.backbone import Backbone, Features
from benchmark.models.image_batches import AnyImages
from benchmark.registry import FitLog
from benchmark.training.learning import learn, pair_loss
from benchmark.training.loop import Batch, TrainConfig
from benchmark.training.losses import LossDirection
from fdrd.dataset import RetrievalDataset
from fdrd.progress import Progress, silent

BatchNegatives: TypeAlias = Callable[[Batch], Sequence[str]]
"""Hard negatives of the rows of a batch, as many as there are."""


class FineTuned:
    """A copy of a backbone of which `learner` holds the weights that are learned.

    Its features are not cached, so each evaluation sees the weights as they are. While it learns there
    are the given backbone, the copy, and for each learned number its gradient, the optimiser's one (sgd)
    or two (adamw), and the best epoch's.

    Args:
        backbone: the copy, from `Backbone.trainable_copy`.
        learner: modules of the copy; their parameters are all that is learned, and a checkpoint holds
            them alone.
        train: how.
        seed: decides the order of the rows.
        loss: of the logits.
        negatives: from the training rows, what gives each batch its hard negatives; else there are none.
    """

    trains: Literal["backbone"] = "backbone"

    def __init__(
        self,
        backbone: Backbone,
        learner: nn.Module,
        train: TrainConfig,
        seed: int = 0,
        loss: LossDirection = "symmetric",
        negatives: Callable[[RetrievalDataset], BatchNegatives] | None = None,
    ):
        self.backbone = backbone
        self.learner = learner
        self.config = train
        self.seed = seed
        self.direction: LossDirection = loss
        self.negatives = negatives

    def fit(
        self, train: RetrievalDataset, validation: RetrievalDataset, progress: Progress = silent
    ) -> FitLog:
        """Learn the weights."""
        drawn = self.negatives(train) if self.negatives else lambda _batch: ()
        return learn(
            self,
            lambda batch: self.loss(batch, drawn(batch)),
            train,
            validation,
            self.config,
            self.seed,
            self.backbone.device,
            progress,
        )

    def loss(self, batch: Batch, negatives: Sequence[str] = ()) -> Tensor:
        """InfoNCE of a batch and hard negatives at the given backbone's scale, which is not learned."""
        return pair_loss(self, batch, self.backbone.logit_scale, self.direction, negatives)

    def encode_image(self, images: AnyImages) -> Features:
        """Features of B images under the current weights."""
        return self.backbone.encode_image(images)

    def encode_text(self, captions: Sequence[str]) -> Features:
        """Features of B captions under the current weights."""
        return self.backbone.encode_text(captions)

    def similarity(self, images: Features, texts: Features) -> Tensor:
        """(I, C) cosines."""
        return images.pooled @ texts.pooled.T
