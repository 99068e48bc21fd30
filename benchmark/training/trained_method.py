"""The one composed method: a learner, how it encodes, and the loss that trains it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor, nn

from benchmark.models.backbone import Encoder, Features
from benchmark.models.image_batches import AnyImages
from benchmark.result import FitLog
from benchmark.settings import TrainConfig
from benchmark.training.learning import learn, pair_loss
from benchmark.training.loop import Batch
from benchmark.training.losses import PairLoss
from fdrd.dataset import RetrievalDataset
from fdrd.progress import Progress, silent


def cosine(images: Features, texts: Features) -> Tensor:
    """Return (I, C) cosines of pooled features."""
    return images.pooled @ texts.pooled.T


class TrainedMethod:
    """A method whose learner is trained with a contrastive loss.

    Args:
        backbone: gives the device and the logit scale.
        learner: its parameters are all that is trained, and a checkpoint holds nothing else.
        train: training settings.
        seed: decides the order of the rows.
        encode_image: features of B images; by default the backbone's.
        encode_text: features of B captions; by default the backbone's.
        similarity: (I, C) scores.
        loss: direction of InfoNCE, `sigmoid`, or another loss of a batch.
        trains: `backbone` if the learner holds weights of a copied backbone.
    """

    def __init__(
        self,
        backbone: Encoder,
        learner: nn.Module,
        train: TrainConfig,
        seed: int,
        *,
        encode_image: Callable[[AnyImages], Features] | None = None,
        encode_text: Callable[[Sequence[str]], Features] | None = None,
        similarity: Callable[[Features, Features], Tensor] = cosine,
        loss: PairLoss | Callable[[Batch], Tensor] = "symmetric",
        trains: Literal["prompts", "backbone"] = "prompts",
    ):
        self.backbone = backbone
        self.learner = learner.to(backbone.device)
        self.config = train
        self.seed = seed
        self.encode_image = encode_image or backbone.encode_image
        self.encode_text = encode_text or backbone.encode_text
        self.similarity = similarity
        self.loss: Callable[[Batch], Tensor] = (
            loss
            if callable(loss)
            else lambda batch: pair_loss(
                self, batch, backbone.logit_scale, loss, bias=backbone.logit_bias
            )
        )
        self.trains: Literal["prompts", "backbone"] = trains

    def fit(
        self, train: RetrievalDataset, validation: RetrievalDataset, progress: Progress = silent
    ) -> FitLog:
        """Train the learner."""
        device = self.backbone.device
        return learn(self, self.loss, train, validation, self.config, self.seed, device, progress)
