"""Accuracy of the text-only baseline on the hard negatives of a split, reported next to each method's accuracy.

The baseline is the `context` classifier of `fdrd audit`, trained on the training split and judged like a method:
one classifier for all kinds of negatives, and a tie is a loss.
"""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from benchmark.evaluation.hard_negatives import kinds, wins
from fdrd.checks.text_only import text_only_scores
from fdrd.dataset import RetrievalDataset
from fdrd.negatives.given import plain

_MOST_ROWS = 10_000  # training rows; more of them cost time and barely help

Row = tuple[str, tuple[str, ...]]
"""a true caption and its negatives"""


def text_only_baseline(
    measured: RetrievalDataset, train: RetrievalDataset | None
) -> dict[str, float]:
    """Return the accuracy by `all`, kind, and `attribute: type`, as in `hard_negative_shares`.

    Training rows whose caption also occurs among the measured rows are left out. The result is empty
    without training rows that have negatives.
    """
    rows = [row for row in _rows(measured) if row[1]]
    known = set(map(plain, measured.captions))
    training = [
        row for row in (_rows(train) if train else ()) if row[1] and plain(row[0]) not in known
    ]
    if not rows or not training:
        return {}
    every = 1 + (len(training) - 1) // _MOST_ROWS
    scores = _scores(tuple(training[::every]), tuple(rows))
    won: dict[str, list[bool]] = defaultdict(list)
    negatives = filter(None, measured.negatives)
    for of_row, candidates in zip(negatives, scores, strict=True):
        for name, members in kinds(of_row).items():
            won[name].append(wins(candidates, members))
    return {name: float(np.mean(each)) for name, each in won.items()}


@lru_cache(maxsize=4)  # several methods are measured on one split
def _scores(training: tuple[Row, ...], rows: tuple[Row, ...]) -> list[npt.NDArray[np.float64]]:
    return text_only_scores(training, rows, "context")


def _rows(dataset: RetrievalDataset) -> list[Row]:
    captions = [dataset.captions[number] for number in dataset.pairs[:, 1]]
    return [
        (caption, tuple(negative.caption for negative in negatives))
        for caption, negatives in zip(captions, dataset.negatives, strict=True)
    ]
