"""Captions that the images of a batch choose among in the category-aware loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmark import Batch, TrainingNegatives
from fdrd.dataset import Indices, RetrievalDataset

NEGATIVES = 4
"""Hard negatives per caption and epoch, as in the released annotations."""


@dataclass(frozen=True, eq=False)
class DrawnCaptions:
    """N candidates for a batch of B, whose own captions come first.

    Attributes:
        captions: N captions.
        category: (N,) numbers of the categories that they name, from 0.
        allowed: (B, N) true for an image's own caption, and for the wrong ones among which it chooses.
    """

    captions: list[str]
    category: Indices
    allowed: npt.NDArray[np.bool_]


class CandidateCaptions:
    """Draws the captions of a batch and their hard negatives; the draw depends only on seed and batch.

    Args:
        train: training rows.
        seed: seed of the negatives.
        own: whether an image chooses among its own caption and negatives, or those of the whole batch.
        n_attribute: number of the negatives that swap an attribute.
    """

    def __init__(self, train: RetrievalDataset, seed: int, *, own: bool, n_attribute: int):
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
        owner = np.array([row for row, _ in negatives], dtype=np.int64)
        of_batch = np.eye(len(rows), dtype=bool)
        of_row = batch.rows[:, None] == owner
        if not self._own:
            repeats = np.zeros_like(of_batch) if batch.repeats is None else batch.repeats.numpy()
            of_batch, of_row = ~repeats, np.ones_like(of_row)
        return DrawnCaptions(
            [*batch.captions, *(negative.caption for _, negative in negatives)],
            np.unique(names, return_inverse=True)[1],
            np.hstack([of_batch, of_row]),
        )

    def _category(self, row: int) -> str:
        """Return a row's category; a row without one shares it with no other row."""
        return self.negatives.category(row) or f"row {row}"
