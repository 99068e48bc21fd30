"""What a reader of captions alone makes of a split's hard negatives: its accuracy stands beside each method's.

It is the `context` reader of `fdrd audit`, trained on the training split, whatever the method learned from,
and judged as a method is: one reader for all kinds, and a tie is a loss.
"""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from benchmark.evaluation.hard_negatives import kinds, wins
from fdrd.checks.audit import blind_scores
from fdrd.dataset import RetrievalDataset
from fdrd.negatives.given import plain

_MOST_ROWS = 10_000  # to learn from: more take long and teach little

Row = tuple[str, tuple[str, ...]]
"""A true caption and its negatives."""


def blind_accuracy(measured: RetrievalDataset, train: RetrievalDataset | None) -> dict[str, float]:
    """The reader's accuracy by `all`, kind, and `attribute: type`, as in `hard_negative_shares`.

    Empty where there is nothing to learn from: training rows with negatives, less those whose caption is
    also one of the measured rows'.
    """
    rows = [row for row in _rows(measured) if row[1]]
    known = set(map(plain, measured.captions))
    learned = [
        row for row in (_rows(train) if train else ()) if row[1] and plain(row[0]) not in known
    ]
    if not rows or not learned:
        return {}
    every = 1 + (len(learned) - 1) // _MOST_ROWS
    scores = _scores(tuple(learned[::every]), tuple(rows))
    won: dict[str, list[bool]] = defaultdict(list)
    negatives = filter(None, measured.negatives)
    for of_row, candidates in zip(negatives, scores, strict=True):
        for name, members in kinds(of_row).items():
            won[name].append(wins(candidates, members))
    return {name: float(np.mean(each)) for name, each in won.items()}


@lru_cache(maxsize=4)  # several methods are measured on one split
def _scores(learned: tuple[Row, ...], rows: tuple[Row, ...]) -> list[npt.NDArray[np.float64]]:
    return blind_scores(learned, rows, "context")


def _rows(dataset: RetrievalDataset) -> list[Row]:
    captions = [dataset.captions[number] for number in dataset.pairs[:, 1]]
    return [
        (caption, tuple(negative.caption for negative in negatives))
        for caption, negatives in zip(captions, dataset.negatives, strict=True)
    ]
