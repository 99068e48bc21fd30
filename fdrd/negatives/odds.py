"""The odds with which each category is drawn for a caption.

The odds combine what the caption's words suggest (`context`) and a bias for each category. The bias makes a
category a negative as often as it is the true one. Otherwise a text-only model could learn which names are
merely frequent.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from fdrd.engines import available_cores
from fdrd.negatives.context import (
    MIN_LOG_ODDS,
    STEP,
    Context,
    Descriptions,
    fit_context,
    log_chance,
    without_one,
)
from fdrd.negatives.seeded_random import SeededRandom

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.signedinteger[Any]]

_NEVER = -(1 << 40)
_USUAL = round(np.log(0.43) / STEP)  # log odds of a word in 30 % of a category's captions
_RARER = round(np.log(30) / STEP)  # it contradicts a category that has it so much more rarely
# Far, because words repeat each other: all together contradict a category.
_LESS_LIKELY = round(16 / STEP)
_EXPECTED = 3  # captions with the word that the smaller of both categories would have at this rate
_ROUNDS = 40  # steps of the fit
_SHORT = 0.05  # a category that lacks more after half of them gets fewer swaps of its own captions
_BALANCED_FOR = (1, 2, 4, 8)  # numbers of negatives; the more, the more rare categories are drawn
_MAX_CELLS = 4_000_000  # captions times categories that are used for balancing
_BLOCK = 1 << 16  # of these cells are computed together: what fits into a processor's cache
_MAX_BIAS = 24.0  # in log odds; a category that no caption suggests would rise without end
_SPARE = 16  # columns of a row that are compared in addition to its highest
_ROUNDING = 1e-6  # more than what rounding adds to a score
_FIRST = 24  # categories that are sorted at once; a caption rarely needs more


@dataclass(frozen=True, slots=True)
class Odds:
    """The odds of C categories."""

    same: Sequence[Sequence[int]]
    """for each category, the categories that are not negatives of it"""
    bias: npt.NDArray[np.int64]
    """(4, C) in units of `STEP`, for 1, 2, 4, and 8 or more negatives"""
    kept: Floats
    """(4, C) share of the captions of each category that get swaps"""
    size: Integers
    """(C,) number of captions of each category"""
    context: Context

    def scores(
        self, own: Sequence[int], bags: Sequence[Iterable[str]], k: Sequence[int]
    ) -> npt.NDArray[np.int64]:
        """Return (N, C) log odds of N captions in units of `STEP`.

        Args:
            own: (N,) index of each caption's true category.
            bags: (N,) words around its mentions (`fdrd.negatives.context.around`).
            k: (N,) number of negatives to draw.
        """
        scores = self.context.scores(bags)
        contradicted = self._contradicted(own, bags)
        # The caption's own category is left out first, or its high score would push all others to the floor.
        same = [self.same[place] for place in own]
        never = np.arange(len(own)).repeat(list(map(len, same))), [*chain.from_iterable(same)]
        scores[never] = _NEVER
        scores -= scores.max(axis=1, keepdims=True, initial=_NEVER)
        # The floor keeps every category possible, whatever the words suggest.
        np.maximum(scores, MIN_LOG_ODDS, out=scores)
        scores += self.bias[self._fitted(k)]
        scores[never] = _NEVER
        scores[contradicted] = _NEVER
        return scores

    def _fitted(self, k: Sequence[int]) -> list[int]:
        """Return the row of `bias` and `kept` for each number of negatives."""
        return [bisect_left(_BALANCED_FOR, min(each, _BALANCED_FOR[-1])) for each in k]

    def _contradicted(
        self, own: Sequence[int], bags: Sequence[Iterable[str]]
    ) -> npt.NDArray[np.bool_]:
        """Return (N, C) which categories the other words contradict.

        They do if one of them is a usual word of the caption's own category and far rarer in the other one, or if
        all together are much less likely in the other one.
        """
        table = self.context.table
        found = np.zeros((len(own), table.shape[1]), dtype=np.bool_)
        for place, words, contradicted in zip(own, bags, found, strict=True):
            known = [row for row in map(self.context.row.get, words) if row is not None]
            rows = np.array(known, np.int64)
            true = table[rows, place]
            usual = rows[true > _USUAL]
            if len(usual):
                odds = table[usual]
                share = 1 / (1 + np.exp(-STEP * odds[:, [place]]))
                absent = (odds < odds[:, [place]] - _RARER) & (
                    share * np.minimum(self.size, self.size[place]) >= _EXPECTED
                )
                absent.any(axis=0, out=contradicted)
            likely = log_chance(table[rows]).sum(axis=0, dtype=np.int64)
            own_words = log_chance(without_one(true, self.size[place])).sum(dtype=np.int64)
            contradicted |= likely < own_words - _LESS_LIKELY
        return found

    def orders(
        self,
        own: Sequence[int],
        bags: Sequence[Iterable[str]],
        k: Sequence[int],
        randoms: Sequence[SeededRandom],
    ) -> list[Iterator[int]]:
        """Return iterators over the other categories of N captions, drawn by their odds without replacement.

        Args:
            own: (N,) index of each caption's true category.
            bags: (N,) words around its mentions.
            k: (N,) number of categories that are expected to be used.
            randoms: (N,) source of the draws of each caption.
        """
        # Log odds with Gumbel noise, negated: their order is a draw without replacement by the odds.
        keys = self.scores(own, bags, k) * -STEP
        for row, random in zip(keys, randoms, strict=True):
            row -= random.gumbel(len(row))
        possible = np.count_nonzero(keys < _NEVER * -STEP / 2, axis=1)
        kept = self.kept[self._fitted(k), own]
        possible[
            [random.uniform() > share for random, share in zip(randoms, kept, strict=True)]
        ] = 0
        # Few of many categories are used, so only the first are sorted here.
        if keys.shape[1] > _FIRST:
            head = keys.argpartition(_FIRST, axis=1)[:, :_FIRST]
        else:
            head = np.tile(np.arange(keys.shape[1]), (len(keys), 1))
        rank = np.take_along_axis(keys, head, axis=1).argsort(axis=1, kind="stable")
        head = np.take_along_axis(head, rank, axis=1)
        return list(map(_in_order, keys, head.tolist(), possible.tolist()))


def _in_order(keys: Floats, head: list[int], possible: int) -> Iterator[int]:
    """Yield the places of `possible` keys from the least to the greatest; `head` has the first ones."""
    yield from head[:possible]
    yield from keys.argsort(kind="stable").tolist()[_FIRST:possible]


def make_odds(same: Sequence[Sequence[int]], captions: Descriptions) -> Odds:
    """Return odds by which each category is a negative as often as it is the true one.

    Args:
        same: for each category, those that are not negatives of it.
        captions: captions that name their category. A fixed part of them is used if they are many.
    """
    size = len(same)
    bias = np.zeros((len(_BALANCED_FOR), size), dtype=np.int64)
    sizes = np.bincount(captions.labels, minlength=size)
    odds = Odds(same, bias, np.ones(bias.shape), sizes, fit_context(captions, size))
    sample = captions.every(1 + len(captions) * size // _MAX_CELLS)
    if len(sample) < 2 or size < 3:
        return odds
    own, bags = zip(*sample, strict=True)
    scores = np.empty((len(sample), size))
    noise = np.random.RandomState(
        0
    )  # a legacy generator: NumPy promises that its stream never changes
    for rows in _blocks(scores):
        log_odds = odds.scores(own[rows], bags[rows], [1] * len(own[rows]))
        scores[rows] = log_odds * STEP + noise.gumbel(size=log_odds.shape)  # as in `orders`
    # NumPy does the work outside of the interpreter's lock.
    with ThreadPoolExecutor(available_cores()) as threads:
        ks = [min(k, size - 1) for k in _BALANCED_FOR]
        biases, kept = zip(*threads.map(partial(_balance, scores, np.array(own)), ks), strict=True)
    whole = np.round(np.array(biases) / STEP).astype(np.int64)
    return replace(odds, bias=whole, kept=np.round(np.array(kept), 6))


def _balance(scores: Floats, own: Integers, k: int) -> tuple[Floats, Floats]:
    """Return (C,) what to add to scores (N, C), and (C,) which share of each category's captions to keep.

    Then the top k of the kept captions hold each category as often as they are of it. A caption that allows fewer
    than k counts in part. Shares below 1 are for categories that few captions allow.
    A row is compared in its highest columns only, until the bias of another may have risen above their k-th.
    The result is that of comparing all columns in every round.
    """
    count, size = scores.shape
    columns = np.zeros((count, min(size, k + _SPARE)), dtype=np.int64)
    known = np.full(columns.shape, -np.inf)
    others = np.full(
        count, np.inf
    )  # the highest biased score of another column, when it was looked up
    since = np.zeros(count, dtype=np.int64)  # the round of that
    biases, kept = [np.zeros(size)], np.ones(size)
    possible = np.minimum(np.count_nonzero(scores > _NEVER * STEP / 2, axis=1), k)
    total = np.bincount(own, possible / k, minlength=size)
    for turn in range(_ROUNDS):
        bias = biases[-1]
        # No column rose by more than this since a round, so most rows need no second look at the others.
        rise = np.array([(bias - earlier).max() for earlier in biases])
        biased = known + bias[columns]
        top = np.partition(biased, -k, axis=1)[:, -k]
        stale = np.flatnonzero(top <= others + rise[since] + _ROUNDING)
        for rows in np.array_split(stale, 1 + stale.size * size // _BLOCK):
            columns[rows], others[rows] = _highest(scores[rows] + bias, columns.shape[1])
            known[rows] = np.take_along_axis(scores[rows], columns[rows], axis=1)
            biased[rows] = known[rows] + bias[columns[rows]]
            top[rows] = np.partition(biased[rows], -k, axis=1)[:, -k]
        since[stale] = turn
        drawn = (biased >= top[:, None]) & (known > _NEVER * STEP / 2)
        weights = kept[own].repeat(np.count_nonzero(drawn, axis=1))
        counts = np.bincount(columns[drawn], weights, minlength=size) / k
        # Half of the whole step, because all categories move at once; 0.25 keeps counts of zero finite.
        change = 0.5 * np.log((kept * total + 0.25) / (counts + 0.25))
        biases.append(np.clip(bias + change, -_MAX_BIAS, _MAX_BIAS))
        if turn >= _ROUNDS // 2:
            kept = np.where(change > _SHORT, kept * np.exp(-change), kept)
    return biases[-1], kept


def _highest(scores: Floats, width: int) -> tuple[Integers, Floats | float]:
    """Return (N, `width`) the columns with the highest scores of each row (N, C), and (N,) the next score."""
    size = scores.shape[1]
    if width == size:
        return np.arange(size), -np.inf
    order = np.argpartition(scores, size - width - 1, axis=1)
    following = order[:, size - width - 1]
    return order[:, size - width :], scores[np.arange(len(scores)), following]


def _blocks(table: Floats) -> list[slice]:
    """Return blocks of rows that fit into a processor's cache."""
    size = max(1, _BLOCK // table.shape[1])
    return [slice(start, start + size) for start in range(0, len(table), size)]
