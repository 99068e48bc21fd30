"""Captions of the training split from outside the batch, for images to choose among.

They are correct captions, some of the image's own category, so only the image can rule them out. Their plain
features are cached and the adapter is always the current one, so a thousand of them cost little. (Images of
earlier batches would be features of earlier prompts and easy to tell apart.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmark import Batch
from fdrd.dataset import RetrievalDataset


@dataclass(frozen=True, eq=False)
class ExtraCaptions:
    """N captions for a batch of B.

    Attributes:
        rows: (N,) training rows.
        captions: N captions.
        wrong: (B, N) false where the caption is also correct for an image of the batch.
    """

    rows: npt.NDArray[np.int64]
    captions: list[str]
    wrong: npt.NDArray[np.bool_]


class ExtraCandidates:
    """Draws captions of a training split for each batch.

    Args:
        train: the rows.
        seed: of the random choice.
        number: captions per batch, if there are that many; 0 for none.
    """

    def __init__(self, train: RetrievalDataset, seed: int, number: int):
        self._train = train
        self._seed = seed
        self._number = number

    def draw(self, batch: Batch) -> ExtraCaptions:
        """Return captions of rows outside the batch; the choice depends only on seed and batch."""
        pairs = self._train.pairs
        rows = np.setdiff1d(np.arange(len(pairs)), batch.rows)
        if len(rows) > self._number:
            generator = np.random.default_rng([self._seed, batch.epoch, *batch.rows.tolist()])
            rows = np.sort(generator.choice(rows, self._number, replace=False))
        captions = [self._train.captions[number] for number in pairs[rows, 1]]
        wrong = (pairs[batch.rows][:, None] != pairs[rows]).all(-1)
        return ExtraCaptions(rows, captions, wrong)
