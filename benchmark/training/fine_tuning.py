"""Methods that train weights of a copy of the backbone and score by cosine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from torch import Tensor, nn

from benchmark.models.backbone import Backbone
from benchmark.registry import TrainContext
from benchmark.result import FitLog
from benchmark.settings import PairLoss, TrainConfig
from benchmark.training.loop import Batch
from benchmark.training.trained_method import TrainedMethod, learn, pair_loss
from fdrd.dataset import RetrievalDataset

BatchNegatives: TypeAlias = Callable[[Batch], Sequence[str]]
"""Hard negatives of the rows of a batch."""

NegativesLoss: TypeAlias = Callable[[Batch, Sequence[str]], Tensor]
"""Loss of a batch with its hard negatives."""


class FineTuned(TrainedMethod):
    """A fine-tuned copy of a backbone, trained with a contrastive loss.

    Its features are not cached, so each evaluation uses the current weights. Training needs memory for the
    original backbone, the copy, and for each trained weight its gradient, one (sgd) or two (adamw) values of
    the optimizer, and the value of the best state.

    Args:
        backbone: the copy, from `Backbone.trainable_copy`.
        learner: modules of the copy; only their parameters are trained and saved.
        train: training options.
        seed: seed of the order of rows.
        loss: direction of the loss, or another one.
        negatives: builds the function that returns the hard negatives of a batch; None uses none.
    """

    def __init__(
        self,
        backbone: Backbone,
        learner: nn.Module,
        train: TrainConfig,
        seed: int = 0,
        loss: PairLoss | NegativesLoss = "symmetric",
        negatives: Callable[[RetrievalDataset], BatchNegatives] | None = None,
    ):
        def batch_loss(batch: Batch, negatives: Sequence[str] = ()) -> Tensor:
            if callable(loss):
                return loss(batch, negatives)
            return pair_loss(
                self, batch, batch.scale_of(backbone), loss, negatives, batch.bias_of(backbone)
            )

        super().__init__(backbone, learner, train, seed, loss=batch_loss, trains="backbone")
        self.backbone: Backbone = backbone
        self.loss: Callable[..., Tensor] = batch_loss
        self.negatives = negatives

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the fine-tuned model as `transformers` loads it, with low-rank updates merged."""
        merged = self.backbone.trainable_copy()
        for name, module in list(merged.model.named_modules()):
            if hasattr(module, "base_layer"):  # a layer of peft
                module.merge()
                parent, _, own = name.rpartition(".")
                setattr(merged.model.get_submodule(parent), own, module.base_layer)
        merged.save_pretrained(str(folder))

    def fit(
        self,
        train: RetrievalDataset,
        validation: RetrievalDataset,
        context: TrainContext = TrainContext(),
    ) -> FitLog:
        """Train the weights."""
        negatives_of = self.negatives(train) if self.negatives else lambda _batch: ()
        return learn(
            self,
            train,
            validation,
            context,
            loss=lambda batch: self.loss(batch, negatives_of(batch)),
        )
