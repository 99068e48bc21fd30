"""CE-CLIP (arXiv 2306.08832, github.com/lezhang7/Enhance-FineGrained): fine-tuning with two losses on negatives.

In addition to NegCLIP's loss, in which an image chooses among all captions and all negatives of the batch:
- an image must prefer its caption to each of its negatives by a margin, which is the mean difference of the
  previous batch and so grows with the model (cross-modal rank loss);
- a caption must be more similar to its image than to any negative of the batch (intra-modal contrast).

Differs from the paper: its four negatives swap two nouns or refill an adjective, noun or verb, each with a margin of
its own; ours swap the category or an attribute (`benchmark.training.training_negatives`), also with a margin per
place. A missing negative is masked. Batches of 32 instead of 256 and a learning rate of 1e-5 instead of 5e-6, as in
`full`; the logit scale is frozen, no warm-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, relu

from benchmark import Backbone, Batch, FineTuned, TrainConfig, TrainingNegatives, info_nce, method
from benchmark.models.backbone import WEIGHTS
from benchmark.training.trained_method import BatchNegatives, towers_of
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError


def placed_negatives(
    train: RetrievalDataset, seed: int, n_negatives: int, n_attribute: int
) -> BatchNegatives:
    """Return a function that gives each row of a batch `n_negatives` captions, new ones in every epoch.

    The first places swap the category, the last `n_attribute` an attribute. A place is empty where the caption
    offers no such swap.
    """
    if not 0 <= n_attribute <= n_negatives or n_negatives < 1:
        raise FdrdError(
            f"n_negatives={n_negatives}, n_attribute={n_attribute}: need at least one negative, of which "
            f"n_attribute swap an attribute"
        )
    negatives = TrainingNegatives(train, seed)
    n_category = n_negatives - n_attribute

    def of_row(row: int, epoch: int) -> list[str]:
        placed = []
        for kind, count in (("category", n_category), ("attribute", n_attribute)):
            drawn = negatives.draw(row, epoch, count, count if kind == "attribute" else 0)
            same = [negative.caption for negative in drawn if negative.kind == kind]
            placed += (same + [""] * count)[:count]
        return placed

    return lambda batch: [
        caption for row in batch.rows.tolist() for caption in of_row(row, batch.epoch)
    ]


def rank_loss(positive: Tensor, negative: Tensor, real: Tensor, margin: Tensor) -> Tensor:
    """Return how far negatives come nearer than the margin, on average over all places.

    Args:
        positive: (B,) logits of images with their captions.
        negative: (B, K) logits of images with their negatives.
        real: (B, K) false where a place is empty.
        margin: (K,) of each place.

    >>> one, real = torch.ones(1, 2), torch.tensor([[True, False]])
    >>> float(rank_loss(torch.tensor([3.0]), one, real, torch.tensor([5.0, 9.0])))  # (5 + 1 - 3) / 2
    1.5
    """
    return (relu(margin + negative - positive[:, None]) * real).mean()


def next_margin(positive: Tensor, negative: Tensor, real: Tensor, most: float) -> Tensor:
    """Return (K,) mean differences of positive and negative logits, between 0 and `most`."""
    mean = (negative * real).sum(0) / real.sum(0).clamp_min(1)
    return (positive.mean() - mean).clamp(0, most)


def text_contrast(positive: Tensor, between: Tensor, real: Tensor) -> Tensor:
    """Return the cross entropy of a caption choosing its image among the negatives of the batch.

    Args:
        positive: (B,) logits of captions with their images.
        between: (B, N) logits of captions with negatives.
        real: (N,) false where a negative is missing.
    """
    logits = torch.cat([positive[:, None], between.masked_fill(~real, -torch.inf)], dim=1)
    return cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


@method("ce_clip", needs=WEIGHTS, trains="both towers")
def ce_clip(
    backbone: Backbone,
    *,
    n_negatives: int = 4,
    n_attribute: int = 2,
    rank_weight: float = 0.2,
    contrast_weight: float = 0.3,
    most_margin: float = 10.0,
    loss: Literal["symmetric", "image_to_text"] = "symmetric",
    train: TrainConfig = TrainConfig(optimizer="adamw", learning_rate=1e-5),
    seed: int = 0,
) -> FineTuned:
    """Fine-tune both towers with a rank loss and a text contrast on negatives (arXiv 2306.08832).

    Args:
        rank_weight: weight of the rank loss.
        contrast_weight: weight of the contrast between captions and negatives.
        most_margin: upper bound of the margin, in logits.
        loss: symmetric, or images only.
    """
    copied = backbone.trainable_copy()
    learner = towers_of(copied)
    learner.register_buffer("margin", torch.zeros(n_negatives))

    def batch_loss(batch: Batch, negatives: Sequence[str]) -> Tensor:
        size, scale = len(batch.captions), batch.scale_of(copied)
        images = copied.encode_image(batch.images).pooled
        texts = copied.encode_text([*batch.captions, *negatives]).pooled
        real = torch.tensor([bool(caption) for caption in negatives], device=texts.device)
        logits = scale * images @ texts.T  # (B, B + B K)
        positive, every = logits[:, :size].diagonal(), logits[:, size:].view(size, size, -1)
        negative = every[range(size), range(size)]  # (B, K)
        placed = real.view(size, -1)
        between = scale * texts[:size] @ texts[size:].T
        margin = learner.get_buffer("margin")
        ranked = rank_loss(positive, negative, placed, margin)
        with torch.no_grad():
            margin.copy_(next_margin(positive, negative, placed, most_margin))
        chosen = torch.cat([logits[:, :size], logits[:, size:].masked_fill(~real, -torch.inf)], 1)
        contrast = text_contrast(positive, between, real)
        return (
            info_nce(chosen, loss, batch.repeats)
            + rank_weight * ranked
            + contrast_weight * contrast
        )

    draw = partial(placed_negatives, seed=seed, n_negatives=n_negatives, n_attribute=n_attribute)
    return FineTuned(copied, learner, train, seed, batch_loss, draw)
