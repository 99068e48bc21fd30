"""Captions that the images of a batch choose among in the category-aware loss.

They are the captions of the batch, their hard negatives, and captions of the training split from outside the
batch. The last are correct captions, some of the image's own category, so only the image can rule them out.
Plain features are cached and the adapter is always the current one, so a thousand of them cost little. (Images
of earlier batches would be features of earlier prompts and easy to tell apart.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from benchmark import Batch, TrainingNegatives
from fdrd.dataset import Indices, RetrievalDataset

Candidates: TypeAlias = Literal["own", "in_batch", "train"]
"""An image's own caption and negatives, those of the whole batch, or also captions from outside it."""


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
    """Draws candidates for each batch; the choice depends only on seed and batch.

    Args:
        train: the rows.
        seed: of negatives and of captions from outside the batch.
        kind: which captions an image chooses among.
        n_negatives: hard negatives per row.
        n_attribute: how many of them swap an attribute.
        n_further: captions from outside the batch, if there are that many.
    """

    def __init__(
        self,
        train: RetrievalDataset,
        seed: int,
        *,
        kind: Candidates = "train",
        n_negatives: int = 0,
        n_attribute: int = 0,
        n_further: int = 0,
    ):
        self._train = train
        self._seed = seed
        self._own = kind == "own"
        self._number = n_further if kind == "train" else 0
        self._of_each = n_negatives, n_attribute
        self.negatives = TrainingNegatives(train, seed)

    def draw(self, batch: Batch) -> DrawnCaptions:
        """Return the candidates of a batch."""
        rows, outside = batch.rows.tolist(), self._outside(batch)
        swapped = [
            (row, negative)
            for row in rows
            for negative in self.negatives.draw(row, batch.epoch, *self._of_each)
        ]
        names = [
            *map(self._category, rows),
            *(negative.category or self._category(row) for row, negative in swapped),
            *map(self._category, outside.tolist()),
        ]
        owner = np.array([row for row, _ in swapped], dtype=np.int64)
        of_batch = np.eye(len(rows), dtype=bool)
        of_row = batch.rows[:, None] == owner
        if not self._own:
            repeats = np.zeros_like(of_batch) if batch.repeats is None else batch.repeats.numpy()
            of_batch, of_row = ~repeats, np.ones_like(of_row)
        return DrawnCaptions(
            [*batch.captions, *(negative.caption for _, negative in swapped), *self._said(outside)],
            np.unique(names, return_inverse=True)[1],
            np.hstack([of_batch, of_row, self._wrong(batch.rows, outside)]),
        )

    def _outside(self, batch: Batch) -> Indices:
        """Return training rows outside the batch."""
        rows = np.setdiff1d(np.arange(len(self._train)), batch.rows)
        if len(rows) > self._number:
            generator = np.random.default_rng([self._seed, batch.epoch, *batch.rows.tolist()])
            rows = np.sort(generator.choice(rows, self._number, replace=False))
        return rows

    def _wrong(self, rows: Indices, others: Indices) -> npt.NDArray[np.bool_]:
        """Return (B, N) whether the caption of each other row is wrong for the image of each row."""
        pairs = self._train.pairs
        wrong: npt.NDArray[np.bool_] = (pairs[rows][:, None] != pairs[others]).all(-1)
        return wrong

    def _said(self, rows: Indices) -> list[str]:
        return [self._train.captions[number] for number in self._train.pairs[rows, 1]]

    def _category(self, row: int) -> str:
        """Return a row's category; a row without one shares it with no other row."""
        return self.negatives.category(row) or f"row {row}"
