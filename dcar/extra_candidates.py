"""Captions of the training split from outside of the batch, for images to choose among.

They are right captions, some of them of the image's own category: nothing but the image tells them
apart. Their plain features are cached and the adapter's are always those of now, so a thousand of them
cost a step little more than the adapter. (Images of earlier batches would be features of earlier
prompts: told from those of now, and of no use.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmark import Batch
from fdrd.dataset import RetrievalDataset


@dataclass(frozen=True, eq=False)
class Further:
    """N captions for a batch of B.

    Attributes:
        rows: (N,) that they belong to.
        captions: N.
        wrong: (B, N) false where the caption is right for an image of the batch, too.
    """

    rows: npt.NDArray[np.int64]
    captions: list[str]
    wrong: npt.NDArray[np.bool_]


class FurtherCaptions:
    """The captions of a training split, of which every batch gets some.

    Args:
        train: the rows.
        seed: of the draws.
        number: captions for a batch, where there are as many; 0 for none.
    """

    def __init__(self, train: RetrievalDataset, seed: int, number: int):
        self._train = train
        self._seed = seed
        self._number = number

    def draw(self, batch: Batch) -> Further:
        """Captions of rows that are not in the batch; which, depends on seed and batch alone."""
        pairs = self._train.pairs
        rows = np.setdiff1d(np.arange(len(pairs)), batch.rows)
        if len(rows) > self._number:
            chance = np.random.default_rng([self._seed, batch.epoch, *batch.rows.tolist()])
            rows = np.sort(chance.choice(rows, self._number, replace=False))
        said = [self._train.captions[number] for number in pairs[rows, 1]]
        wrong = (pairs[batch.rows][:, None] != pairs[rows]).all(-1)
        return Further(rows, said, wrong)
