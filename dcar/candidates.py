"""Captions that the images of a batch choose among in the category-aware loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmark import Batch, TrainingNegatives
from dcar.options import NEGATIVES
from fdrd.dataset import RetrievalDataset


@dataclass(frozen=True, eq=False)
class DrawnCaptions:
    """N candidates for a batch of B, whose own captions come first.

    Attributes:
        captions: N captions.
        category: (N,) indices of the categories that they name.
        allowed: (B, N) true for an image's own caption, and for the wrong ones among which it chooses.
    """

    captions: list[str]
    category: Tensor
    allowed: Tensor


class CandidateCaptions:
    """Draws the captions of a batch and their hard negatives; the draw depends only on seed and batch.

    Args:
        train: training rows.
        seed: seed of the negatives.
        n_attribute: number of the negatives that swap an attribute.
        own: whether an image chooses among its own caption and negatives, or those of the whole batch.
    """

    def __init__(self, train: RetrievalDataset, seed: int, *, n_attribute: int, own: bool = False):
        self._own = own
        self._n_attribute = n_attribute
        self.negatives = TrainingNegatives(train, seed)

    def draw(self, batch: Batch) -> DrawnCaptions:
        """Return the candidates of a batch."""
        rows = batch.rows.tolist()
        negatives = [
            (row, negative)
            for row in rows
            for negative in self.negatives.draw(row, batch.epoch, NEGATIVES, self._n_attribute)
        ]
        names = [
            *map(self._category, rows),
            *(negative.category or self._category(row) for row, negative in negatives),
        ]
        allowed = torch.ones(len(rows), len(names), dtype=torch.bool)
        if self._own:
            owner = torch.tensor([*rows, *(row for row, _ in negatives)])
            allowed = torch.tensor(rows)[:, None] == owner
        elif batch.repeats is not None:
            allowed[:, : len(rows)] = ~batch.repeats
        return DrawnCaptions(
            [*batch.captions, *(negative.caption for _, negative in negatives)],
            torch.from_numpy(np.unique(names, return_inverse=True)[1]),
            allowed,
        )

    def _category(self, row: int) -> str:
        """Return a row's category; a row without one shares it with no other row."""
        return self.negatives.category(row) or f"row {row}"
