"""The odds with which each category is drawn for a caption: what its words suggest, and a bias for each category.

If the caption's own words rule a negative out ("a hairless pomeranian"), the text alone shows that it is wrong. So
categories are drawn by the odds that the words give them ("a hairless cat with ..." suggests a sphynx), estimated by
naive Bayes over the words around the mentions in the captions of the domain.

The bias makes a category a negative as often as it is the true one. Otherwise a text-only model could learn which names
are merely frequent.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, count
from typing import Any

import numpy as np
import numpy.typing as npt

from fdrd.engines import available_cores
from fdrd.negatives.seeded_random import SeededRandom
from fdrd.text.mentions import Mention

STEP = 1 / 1024  # unit of integer log odds: their sums are exact on every machine
MIN_LOG_ODDS = round(-12 / STEP)  # lower bound relative to the most likely choice
_LOG_CHANCE = np.round(
    -np.logaddexp(0, -STEP * np.arange(1 << 16, dtype=np.uint16).view(np.int16)) / STEP
).astype(np.int16)
"""Logarithms of the chances with these log odds, both in units of `STEP`, by the bits of the odds."""
_WORD = re.compile(r"[^\W_]+")
_MARKS = ".,;:!?'’\"”)"
_NEAR = 40  # characters that are searched for the words next to a mention
_MIN_CAPTIONS = 3  # rarer words are ignored
_MAX_WORDS = 8192
_BATCH = 512  # rows of the table that are computed together, to bound memory
_BAGS = 16384  # bags that are counted together, for the same reason
_PRIOR = 2.0  # pseudo-captions with the average of the domain that each category starts with

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


class Descriptions:
    """Labeled bags of words, stored as numbers: four bytes per word."""

    def __init__(self, described: Iterable[tuple[int, Iterable[str]]] = ()):
        self._words: dict[str, int] = defaultdict(count().__next__)
        self._labels, self._ends = array("i"), array("q")
        self._distinct, self._repeated = array("i"), array("i")
        for label, words in described:
            numbers = [self._words[word] for word in words]
            distinct = dict.fromkeys(numbers)
            if len(distinct) < len(numbers):
                self._repeated.extend((Counter(numbers) - Counter(distinct.keys())).elements())
            self._distinct.extend(distinct)
            self._labels.append(label)
            self._ends.append(len(self._distinct))

    def __len__(self) -> int:
        """Return the number of bags."""
        return len(self._labels)

    @property
    def labels(self) -> npt.NDArray[np.int32]:
        """(N,) the label of each bag."""
        return np.array(self._labels, dtype=np.int32)

    def every(self, step: int) -> list[tuple[int, list[str]]]:
        """Return every step-th bag: its label and its words."""
        words = list(self._words)
        found = []
        for index in range(0, len(self), step):
            indices = self._distinct[self._ends[index - 1] if index else 0 : self._ends[index]]
            found.append((self._labels[index], [words[each] for each in indices]))
        return found

    def frequent(self) -> list[str]:
        """Return the frequent words, the most frequent first."""
        times = np.zeros(len(self._words), np.int64)
        for numbers in (self._distinct, self._repeated):
            times += np.bincount(np.frombuffer(numbers, np.int32), minlength=len(times))
        often = [
            (-count, word)
            for word, count in zip(self._words, times.tolist(), strict=True)
            if count >= _MIN_CAPTIONS
        ]
        return [word for _, word in sorted(often)[:_MAX_WORDS]]

    def counts(self, words: Sequence[str], size: int) -> npt.NDArray[np.int32]:
        """Return (V, `size`) the number of bags with each of V words, by label."""
        row_of = np.full(len(self._words), -1)
        row_of[[self._words[word] for word in words]] = np.arange(len(words))
        counts = np.zeros(len(words) * size, dtype=np.int32)
        labels, ends = self.labels, np.concatenate([[0], np.array(self._ends, np.int64)])
        for start in range(0, len(self), _BAGS):
            here = ends[start : start + _BAGS + 1]
            rows = row_of[np.frombuffer(self._distinct, np.int32)[here[0] : here[-1]]]
            cells = rows * size + labels[start : start + _BAGS].repeat(np.diff(here))
            np.add.at(counts, cells[rows >= 0], 1)
        return counts.reshape(len(words), size)


@dataclass(frozen=True, slots=True)
class Context:
    """What each word adds to the log odds of each of C labels.

    `row` has the row of each word in `table` (V + 1, C): log odds in units of `STEP`, in the last row 0, for unknown
    words.
    """

    row: Mapping[str, int]
    table: npt.NDArray[np.int16]

    def scores(self, bags: Sequence[Iterable[str]]) -> npt.NDArray[np.int64]:
        """Return (N, C) log odds of N bags of words in units of `STEP`, up to a constant for each bag."""
        scores = np.empty((len(bags), self.table.shape[1]), dtype=np.int64)
        for words, total in zip(bags, scores, strict=True):
            rows = [row for row in map(self.row.get, words) if row is not None]
            np.add.reduce(self.table[rows], axis=0, dtype=np.int32, out=total)
        return scores

    def rows(self, words: Iterable[str]) -> list[int]:
        """Return the row of each word."""
        return [self.row.get(word, -1) for word in words]


def around(caption: str, mentions: Sequence[Mention]) -> set[str]:
    """Return the words of a caption outside the mentions, and those next to a mention marked as such.

    >>> sorted(around("A white cat sleeps", [Mention(8, 11, plural=False)]))
    ['<a white', '<white', '>sleeps', 'a', 'sleeps', 'white']
    """
    words: set[str] = set()
    end = 0
    for mention in mentions:
        words.update(_WORD.findall(caption[end : mention.start].lower()))
        words.update(beside(caption, mention))
        end = mention.end
    words.update(_WORD.findall(caption[end:].lower()))
    words.discard("an")  # the article follows the name, and "a" is everywhere
    return words


def beside(caption: str, mention: Mention) -> tuple[str, str, str]:
    """Return the two words before a mention, the one before it, and the one after it, marked as such."""
    before = caption[max(0, mention.start - _NEAR) : mention.start].lower().rsplit(None, 2)[-2:]
    before = ["a" if word == "an" else word for word in before]
    after = caption[mention.end : mention.end + _NEAR].lower().split(None, 1)
    first = after[0].strip(_MARKS) if after else ""
    return "<" + " ".join(before), "<" + (before[-1] if before else ""), ">" + first


def fit_context(captions: Descriptions, size: int) -> Context:
    """Fit the context of `size` labels."""
    frequent = captions.frequent()
    counts = captions.counts(frequent, size)
    described = np.bincount(captions.labels, minlength=size)
    table = np.zeros((len(frequent) + 1, size), dtype=np.int16)
    for start in range(0, len(frequent), _BATCH):
        times = counts[start : start + _BATCH]
        share = times.sum(axis=1, keepdims=True) / len(captions)
        chance = (times + _PRIOR * share) / (described + _PRIOR)
        table[start : start + len(times)] = _log_odds(chance)
    return Context({word: row for row, word in enumerate(frequent)}, table)


def without_one(log_odds: npt.NDArray[np.int16], described: int) -> npt.NDArray[np.int16]:
    """Return the log odds (n,) of words in a label with `described` captions, without one that has these words."""
    chance = 1 / (1 + np.exp(-STEP * log_odds))
    return _log_odds((chance * (described + _PRIOR) - 1) / (described - 1 + _PRIOR))


def _log_odds(chance: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
    chance = np.clip(chance, 1e-6, 1 - 1e-3)
    found: npt.NDArray[np.int16] = np.round((np.log(chance) - np.log1p(-chance)) / STEP)
    return found.astype(np.int16)


@dataclass(frozen=True, slots=True)
class Odds:
    """The odds of C categories.

    Attributes:
        same: for each category, the categories that are not negatives of it.
        bias: (4, C) log odds in units of `STEP`, for 1, 2, 4, and 8 or more negatives.
        kept: (4, C) share of the captions of each category that get swaps.
        size: (C,) number of captions of each category.
        context: what each word adds to the log odds.
    """

    same: Sequence[Sequence[int]]
    bias: npt.NDArray[np.int64]
    kept: Floats
    size: Integers
    context: Context

    def scores(
        self, true: Sequence[int], bags: Sequence[Iterable[str]], k: Sequence[int]
    ) -> npt.NDArray[np.int64]:
        """Return (N, C) log odds of N captions in units of `STEP`, to draw `k` (N,) negatives.

        `true` (N,) is the index of each caption's true category, and `bags` (N,) the words around its mentions
        (`around`).
        """
        scores = self.context.scores(bags)
        contradicted = self._contradicted(true, bags)
        # The caption's own category is left out first, or its high score would push all others to the floor.
        same = [self.same[index] for index in true]
        never = np.arange(len(true)).repeat(list(map(len, same))), [*chain.from_iterable(same)]
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
        self, true: Sequence[int], bags: Sequence[Iterable[str]]
    ) -> npt.NDArray[np.bool_]:
        """Return (N, C) which categories the other words contradict.

        They do if one of them is a usual word of the caption's own category and far rarer in the other one, or if
        all together are much less likely in the other one.
        """
        table = self.context.table
        found = np.zeros((len(true), table.shape[1]), dtype=np.bool_)
        for index, words, contradicted in zip(true, bags, found, strict=True):
            known = [row for row in map(self.context.row.get, words) if row is not None]
            rows = np.array(known, np.int64)
            own_odds = table[rows, index]
            usual = rows[own_odds > _USUAL]
            if len(usual):
                odds, true_odds = table[usual], table[usual][:, [index]]
                share = 1 / (1 + np.exp(-STEP * true_odds))
                seen = share * np.minimum(self.size, self.size[index]) >= _EXPECTED
                ((odds < true_odds - _RARER) & seen).any(axis=0, out=contradicted)
            others = without_one(own_odds, self.size[index])
            likely = _LOG_CHANCE[table[rows].view(np.uint16)].sum(axis=0, dtype=np.int64)
            expected = _LOG_CHANCE[others.view(np.uint16)].sum(dtype=np.int64)
            contradicted |= likely < expected - _LESS_LIKELY
        return found

    def orders(
        self,
        true: Sequence[int],
        bags: Sequence[Iterable[str]],
        k: Sequence[int],
        randoms: Sequence[SeededRandom],
    ) -> list[Iterator[int]]:
        """Return iterators over the other categories of N captions, drawn by their odds without replacement.

        The arguments are those of `scores`, and the source of the draws of each caption.
        """
        # Log odds with Gumbel noise, negated: their order is a draw without replacement by the odds.
        keys = self.scores(true, bags, k) * -STEP
        for row, random in zip(keys, randoms, strict=True):
            row -= random.gumbel(len(row))
        possible = np.count_nonzero(keys < _NEVER * -STEP / 2, axis=1)
        kept = self.kept[self._fitted(k), true]
        drawn = [random.uniform() for random in randoms]
        possible[np.array(drawn) > kept] = 0
        # Few of many categories are used, so only the first are sorted here.
        if keys.shape[1] > _FIRST:
            head = keys.argpartition(_FIRST, axis=1)[:, :_FIRST]
        else:
            head = np.tile(np.arange(keys.shape[1]), (len(keys), 1))
        rank = np.take_along_axis(keys, head, axis=1).argsort(axis=1, kind="stable")
        head = np.take_along_axis(head, rank, axis=1)
        return list(map(_in_order, keys, head.tolist(), possible.tolist()))


def _in_order(keys: Floats, head: list[int], possible: int) -> Iterator[int]:
    """Yield the indices of `possible` keys from the least to the greatest; `head` has the first ones."""
    yield from head[:possible]
    yield from keys.argsort(kind="stable").tolist()[_FIRST:possible]


def make_odds(same: Sequence[Sequence[int]], captions: Descriptions) -> Odds:
    """Return odds by which each category is a negative as often as it is the true one.

    `same` are for each category those that are not negatives of it. `captions` name their category. A fixed part of
    them is used if they are many.
    """
    size = len(same)
    bias = np.zeros((len(_BALANCED_FOR), size), dtype=np.int64)
    sizes = np.bincount(captions.labels, minlength=size)
    odds = Odds(same, bias, np.ones(bias.shape), sizes, fit_context(captions, size))
    sample = captions.every(1 + len(captions) * size // _MAX_CELLS)
    if len(sample) < 2 or size < 3:
        return odds
    true, bags = zip(*sample, strict=True)
    scores = np.empty((len(sample), size))
    noise = np.random.RandomState(0)  # a legacy generator, whose stream never changes
    block = max(1, _BLOCK // size)
    for rows in (slice(start, start + block) for start in range(0, len(scores), block)):
        log_odds = odds.scores(true[rows], bags[rows], [1] * len(true[rows]))
        scores[rows] = log_odds * STEP + noise.gumbel(size=log_odds.shape)  # as in `orders`
    # NumPy does the work outside of the interpreter's lock.
    with ThreadPoolExecutor(available_cores()) as threads:
        ks = [min(k, size - 1) for k in _BALANCED_FOR]
        biases, kept = zip(*threads.map(partial(_balance, scores, np.array(true)), ks), strict=True)
    whole = np.round(np.array(biases) / STEP).astype(np.int64)
    return replace(odds, bias=whole, kept=np.round(np.array(kept), 6))


def _balance(scores: Floats, true: Integers, k: int) -> tuple[Floats, Floats]:
    """Return (C,) what to add to scores (N, C), and (C,) which share of each category's captions to keep.

    Then the top k of the kept captions hold each category as often as they are of it. A caption that allows fewer
    than k counts in part. Shares below 1 are for categories that few captions allow.
    A row is compared in its highest columns only, until the bias of another may have risen above their k-th.
    The result is that of comparing all columns in every round.
    """
    count, size = scores.shape
    columns = np.zeros((count, min(size, k + _SPARE)), dtype=np.int64)
    known = np.full(columns.shape, -np.inf)
    # The highest biased score of another column when it was looked up, and the round of that.
    others, since = np.full(count, np.inf), np.zeros(count, dtype=np.int64)
    biases, kept = [np.zeros(size)], np.ones(size)
    possible = np.minimum(np.count_nonzero(scores > _NEVER * STEP / 2, axis=1), k)
    total = np.bincount(true, possible / k, minlength=size)
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
        weights = kept[true].repeat(np.count_nonzero(drawn, axis=1))
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
