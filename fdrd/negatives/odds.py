"""The odds with which each category is drawn for a caption.

The odds combine what the caption's words suggest (`context`) and a bias for each category. The bias makes a
category a negative as often as it is the true one. Otherwise a text-only model could learn which names are
merely frequent.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from fdrd.engines import available_cores
from fdrd.negatives.context import MIN_LOG_ODDS, STEP, Context, Descriptions, fit_context
from fdrd.negatives.seeded_random import SeededRandom

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.signedinteger[Any]]

_NEVER = -(1 << 40)
_ROUNDS = 40
_BALANCED_FOR = (1, 2, 4, 8)  # numbers of negatives; the more, the more rare categories are drawn
_MAX_CELLS = 4_000_000  # captions times categories that are used for balancing
_BLOCK = 1 << 16  # of these cells are computed together
_MAX_BIAS = 24.0
_GROUPED = 8  # scores of a row of which only the maximum is searched for its highest, if it has
_MANY = 256  # scores
_FIRST = 24  # categories that are sorted at once; a caption rarely needs more


@dataclass(frozen=True, slots=True)
class Odds:
    """The odds of C categories."""

    same: Sequence[Sequence[int]]
    """for each category, the categories that are not negatives of it"""
    bias: npt.NDArray[np.int64]
    """(4, C) in units of `STEP`, for 1, 2, 4, and 8 or more negatives"""
    context: Context

    def scores(
        self, own: Sequence[int], bags: Sequence[Iterable[str]], k: int
    ) -> npt.NDArray[np.int64]:
        """Return (N, C) log odds of N captions in units of `STEP`.

        Args:
            own: index of each caption's true category.
            bags: the words around its mentions (`fdrd.negatives.context.around`).
            k: number of negatives to draw.
        """
        scores = self.context.scores(bags)
        for place, row in zip(own, scores, strict=True):
            row[self.same[place]] = _NEVER
        possible = scores > _NEVER
        highest = scores.max(axis=1, keepdims=True, initial=_NEVER)
        scores = np.maximum(scores - highest, MIN_LOG_ODDS)
        scores += self.bias[bisect_left(_BALANCED_FOR, min(k, _BALANCED_FOR[-1]))]
        return np.where(possible, scores, _NEVER)

    def order(self, own: int, words: Iterable[str], k: int, random: SeededRandom) -> Iterator[int]:
        """Yield other categories, drawn by their odds without replacement. `k` are expected to be used."""
        keys = self.scores([own], [words], k)[0] * -STEP
        keys -= random.gumbel(len(keys))
        possible = np.count_nonzero(keys < _NEVER * -STEP / 2)
        head = keys.argpartition(_FIRST)[:_FIRST] if len(keys) > _FIRST else np.arange(len(keys))
        yield from head[keys[head].argsort(kind="stable")].tolist()[:possible]
        yield from keys.argsort(kind="stable").tolist()[_FIRST:possible]


def make_odds(same: Sequence[Sequence[int]], captions: Descriptions) -> Odds:
    """Return odds by which each category is a negative as often as it is the true one.

    Args:
        same: for each category, the categories that are not negatives of it.
        captions: those that name their category. A fixed part of them is used if they are many.
    """
    size = len(same)
    bias = np.zeros((len(_BALANCED_FOR), size), dtype=np.int64)
    odds = Odds(same, bias, fit_context(captions, size))
    sample = captions.every(1 + len(captions) * size // _MAX_CELLS)
    if len(sample) < 2 or size < 3:
        return odds
    own, bags = zip(*sample, strict=True)
    scores = np.empty((len(sample), size))
    possible = np.empty(scores.shape, dtype=np.bool_)
    noise = np.random.RandomState(0)  # its stream never changes
    for rows in _blocks(scores):
        log_odds = odds.scores(own[rows], bags[rows], 1)
        possible[rows] = log_odds > _NEVER // 2
        scores[rows] = log_odds * STEP + noise.gumbel(size=log_odds.shape)  # as in `order`
    fit = partial(_bias, scores, possible, np.bincount(own, minlength=size))
    # NumPy does the work outside of the interpreter's lock.
    with ThreadPoolExecutor(available_cores()) as threads:
        biases = list(threads.map(fit, [min(k, size - 1) for k in _BALANCED_FOR]))
    return Odds(same, np.round(np.array(biases) / STEP).astype(np.int64), odds.context)


def _bias(
    scores: Floats, possible: npt.NDArray[np.bool_], target: npt.NDArray[np.int64], k: int
) -> Floats:
    """Return (C,) what to add to scores (N, C) so that their top k hold each category k * target times."""
    bias = np.zeros(scores.shape[1])
    for _ in range(_ROUNDS):
        held = np.zeros(len(bias), dtype=np.int64)
        for rows in _blocks(scores):
            cells = _top_cells(scores[rows] + bias, k)
            held += np.bincount(
                cells[possible[rows].ravel()[cells]] % len(bias), minlength=len(bias)
            )
        counts = held / k
        bias += 0.5 * np.log((target + 0.25) / (counts + 0.25))
        bias = np.clip(bias, -_MAX_BIAS, _MAX_BIAS)
    return bias


def _top_cells(scores: Floats, k: int) -> Integers:
    """Return the flat indices of the k highest scores of each row (N, C), and of those equal to the k-th."""
    count, size = scores.shape
    if k == 1 or size < _MANY:
        top = np.partition(scores, -k, axis=1)[:, -k] if k > 1 else scores.max(axis=1)
        return np.flatnonzero(scores >= top[:, None])
    # The k-th highest maximum of groups is a lower bound, which leaves few candidates.
    width = size // _GROUPED
    highest = scores[:, : width * _GROUPED].reshape(count, _GROUPED, width).max(axis=1)
    cells: Integers = np.flatnonzero(scores >= np.partition(highest, -k, axis=1)[:, -k, None])
    found, row = scores.ravel()[cells], cells // size
    order = np.lexsort((-found, row))
    top = found[order[np.searchsorted(row, np.arange(count)) + k - 1]]
    best: Integers = cells[found >= top[row]]
    return best


def _blocks(table: Floats) -> list[slice]:
    """Return blocks of rows that fit into a processor's cache."""
    size = max(1, _BLOCK // table.shape[1])
    return [slice(start, start + size) for start in range(0, len(table), size)]
