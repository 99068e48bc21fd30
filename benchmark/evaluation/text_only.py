"""Accuracy of the text-only baseline on the hard negatives of a split, reported next to each method's accuracy.

The baseline is the `context` classifier of `fdrd audit`, trained on the training split (by cross-validation where
there is none) and judged like a method:
one classifier for all kinds of negatives, and a tie is a loss.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from benchmark.evaluation.hard_negatives import rows_won
from benchmark.rank_metrics import Mask
from fdrd.checks.text_only import text_only_scores
from fdrd.dataset import RetrievalDataset
from fdrd.negatives.given import plain

_FOLDS = 5
_MOST_ROWS = 10_000  # training rows; more of them cost time and barely help

Row = tuple[str, tuple[str, ...]]
"""a true caption and its negatives"""


def text_only_baseline(
    measured: RetrievalDataset, train: RetrievalDataset | None
) -> dict[str, Mask]:
    """Return which rows the baseline wins by `all`, kind, and `attribute: type`, as in `hard_negative_shares`.

    Training rows whose caption also occurs among the measured rows are left out. Without training rows that have
    negatives, each fifth of the measured captions is scored after training on the others. The result is empty if a
    fifth has no row.
    """
    rows = [row for row in _rows(measured) if row[1]]
    known = set(map(plain, measured.captions))
    training = [
        row for row in (_rows(train) if train else ()) if row[1] and plain(row[0]) not in known
    ]
    if not rows:
        return {}
    every = 1 + (len(training) - 1) // _MOST_ROWS
    scores = _scores(tuple(training[::every]), tuple(rows)) if training else _held_out(rows)
    if not scores:
        return {}
    return rows_won((each[0] > each[1:] for each in scores), filter(None, measured.negatives))


@lru_cache(maxsize=8)  # several methods are measured on one split
def _scores(training: tuple[Row, ...], rows: tuple[Row, ...]) -> list[npt.NDArray[np.float64]]:
    return text_only_scores(training, rows, "context")


def _held_out(rows: Sequence[Row]) -> list[npt.NDArray[np.float64]]:
    """Return the scores of each row by a baseline trained on the rows of other captions; none if a fold is empty."""
    folds = np.array([zlib.crc32(plain(caption).encode()) % _FOLDS for caption, _ in rows])
    if len(set(folds.tolist())) < _FOLDS:
        return []
    scores: dict[int, npt.NDArray[np.float64]] = {}
    for fold in range(_FOLDS):
        training = [rows[index] for index in np.flatnonzero(folds != fold).tolist()]
        indices = np.flatnonzero(folds == fold).tolist()
        held_out = [rows[index] for index in indices]
        scores |= zip(indices, _scores(tuple(training), tuple(held_out)), strict=True)
    return [scores[index] for index in range(len(rows))]


def _rows(dataset: RetrievalDataset) -> list[Row]:
    captions = [dataset.captions[number] for number in dataset.pairs[:, 1]]
    return [
        (caption, tuple(negative.caption for negative in negatives))
        for caption, negatives in zip(captions, dataset.negatives, strict=True)
    ]
