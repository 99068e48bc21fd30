"""NegCLIP (arXiv 2210.01936): fine-tuning in which every caption brings a hard negative along.

An image must prefer its caption to all captions of the batch and to all their hard negatives (a cross
entropy over 2B texts); a caption chooses among the images; a hard negative chooses nothing.

Differs from the paper: its negatives swap words of the same part of speech, ours another category or
another value of an attribute (`benchmark.training.training_negatives`); it adds to each batch images that are
neighbours of the batch's, with their captions and negatives, ours are random batches; batch 32 instead
of 256; rate 1e-5 instead of 1e-6, the one of `full`, so that the negatives are all that differs between
the two; the logit scale is not learned, nor warmed up. As in the paper, a negative that happens to be
the caption of another image of the batch is not spared.
"""

from __future__ import annotations

from typing import Literal

from baselines.full import towers
from benchmark import Backbone, FineTuned, TrainConfig, TrainingNegatives, method
from benchmark.training.fine_tuning import BatchNegatives
from fdrd.dataset import RetrievalDataset

Swapped = Literal["both", "category", "attribute"]


def one_each(train: RetrievalDataset, seed: int, swapped: Swapped = "both") -> BatchNegatives:
    """One hard negative for each row of a batch whose caption offers any, another in every epoch.

    Args:
        train: the rows.
        seed: of the draws.
        swapped: what they swap; `both` take turns, by row and by epoch. Where a caption offers no swap of
            one kind, one of the other takes its place, except that `category` never swaps an attribute.
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


@method("negclip")
def negclip(
    backbone: Backbone,
    *,
    swapped: Swapped = "both",
    loss: Literal["symmetric", "image_to_text"] = "symmetric",
    train: TrainConfig = TrainConfig(optimiser="adamw", learning_rate=1e-5),
    seed: int = 0,
) -> FineTuned:
    """Fine-tuning of both towers with a hard negative for every caption (arXiv 2210.01936).

    Args:
        backbone: is copied.
        swapped: what is wrong in the negatives: the category, an attribute, or both in turn.
        loss: symmetric, or images alone choose; captions alone would never see a negative.
        train: the training.
        seed: of the negatives and the order of the rows.
    """
    copied = backbone.trainable_copy()
    return FineTuned(
        copied, towers(copied), train, seed, loss, lambda rows: one_each(rows, seed, swapped)
    )
