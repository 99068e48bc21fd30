"""NegCLIP (arXiv 2210.01936): fine-tuning in which every caption comes with a hard negative.

An image must prefer its caption to all captions of the batch and to all their hard negatives (cross entropy over
2B texts). A caption chooses among the images. A hard negative chooses nothing.

Differs from the paper: its negatives swap words of the same part of speech, ours swap the category or an
attribute value (`benchmark.training.training_negatives`). It adds images similar to those of the batch, our
batches are random. Batch 32 instead of 256; learning rate 1e-5 instead of 1e-6, the same as `full`, so that the
negatives are the only difference. The logit scale is frozen by default (`-T scale=learned`), and
there is no warm-up. As in the paper, a negative
may happen to equal the caption of another image of the batch.
"""

from __future__ import annotations

from typing import Literal

from benchmark import Backbone, FineTuned, TrainConfig, TrainingNegatives, method
from benchmark.models.backbone import WEIGHTS
from benchmark.training.trained_method import BatchNegatives, towers_of
from fdrd.dataset import RetrievalDataset

Swapped = Literal["both", "category", "attribute"]


def one_each(train: RetrievalDataset, seed: int, swapped: Swapped = "both") -> BatchNegatives:
    """Return a function that gives each row of a batch one hard negative, a new one in every epoch.

    Args:
        train: the rows.
        seed: seed of the random choice.
        swapped: what the negatives swap; `both` alternates by row and by epoch. If a caption offers no swap of
            one kind, the other kind is used, but `category` never swaps an attribute.
    """
    negatives = TrainingNegatives(train, seed)

    def of_row(row: int, epoch: int) -> list[str]:
        if swapped == "both":
            drawn = negatives.draw(row, epoch, k=2, n_attribute=1)
            turn = (row + epoch) % 2
            drawn = drawn[turn : turn + 1] or drawn[:1]
        else:
            drawn = negatives.draw(row, epoch, k=1, n_attribute=int(swapped == "attribute"))
        return [negative.caption for negative in drawn]

    return lambda batch: [
        caption for row in batch.rows.tolist() for caption in of_row(row, batch.epoch)
    ]


@method("negclip", needs=WEIGHTS, trains="both towers")
def negclip(
    backbone: Backbone,
    *,
    swapped: Swapped = "both",
    loss: Literal["symmetric", "image_to_text", "sigmoid"] = "symmetric",
    train: TrainConfig = TrainConfig(optimizer="adamw", learning_rate=1e-5),
    seed: int = 0,
) -> FineTuned:
    """Fine-tune both towers with a hard negative for every caption (arXiv 2210.01936).

    Args:
        swapped: what is wrong in the negatives: the category, an attribute, or both in turn.
        loss: symmetric, images only, or sigmoid; captions alone would never be compared with a negative.
    """
    copied = backbone.trainable_copy()
    return FineTuned(
        copied, towers_of(copied), train, seed, loss, lambda rows: one_each(rows, seed, swapped)
    )
