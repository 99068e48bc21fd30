"""DCAR before its prompts: plain images, and captions through the adapter.

Both features are cached, so the adapter learns in seconds what would take it many epochs of prompted
towers; from there it learns on together with the prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor

from benchmark import (
    Adapter,
    AnyImages,
    Backbone,
    Batch,
    Features,
    FitLog,
    Progress,
    TrainConfig,
    learn,
    silent,
)
from benchmark.training.resumable import resumable
from fdrd.dataset import RetrievalDataset


class AdapterAlone:
    """A method of which only the adapter learns.

    Args:
        backbone: stays frozen.
        adapter: of the plain text features.
        plain: the plain features (B, d) of captions.
        category_loss: of a batch and its image features (B, d).
        train: how.
        seed: decides the order of the rows.
    """

    trains: Literal["prompts"] = "prompts"

    def __init__(
        self,
        backbone: Backbone,
        adapter: Adapter,
        plain: Callable[[Sequence[str]], Features],
        category_loss: Callable[[Batch, Tensor], Tensor],
        train: TrainConfig,
        seed: int,
    ):
        self.backbone = backbone
        self.learner = adapter
        self._plain = plain
        self._category_loss = category_loss
        self._config = train
        self._seed = seed

    def fit(
        self, train: RetrievalDataset, validation: RetrievalDataset, progress: Progress = silent
    ) -> FitLog:
        """Learn the adapter."""

        def tell(what: str, done: int, total: int) -> None:
            progress(f"adapter alone: {what}", done, total)

        device = self.backbone.device
        with resumable(None):  # it takes seconds, and what is kept is the whole training
            return learn(self, self.loss, train, validation, self._config, self._seed, device, tell)

    def loss(self, batch: Batch) -> Tensor:
        """The category-aware loss of plain images."""
        return self._category_loss(batch, self.backbone.encode_image(batch.images).pooled)

    def encode_image(self, images: AnyImages) -> Features:
        """Plain features of B images."""
        return self.backbone.encode_image(images)

    def encode_text(self, captions: Sequence[str]) -> Features:
        """Adapted plain features of B captions."""
        return Features(self.learner(self._plain(captions).pooled))

    def similarity(self, images: Features, texts: Features) -> Tensor:
        """(I, C) cosines."""
        return images.pooled @ texts.pooled.T
