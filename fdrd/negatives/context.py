"""How strongly the words of a caption suggest each category: "a hairless cat with ..." suggests a sphynx.

If the caption's own words rule a negative out ("a hairless pomeranian"), the text alone shows that it is
wrong. So categories are drawn by the odds that the words give them, estimated by naive Bayes over the words
around the mentions in the captions of the domain.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import numpy.typing as npt

from fdrd.text.mentions import Mention

STEP = 1 / 1024  # unit of integer log odds: their sums are exact on every machine
MIN_LOG_ODDS = round(-12 / STEP)  # lower bound relative to the most likely choice
_LOG_CHANCE = np.round(
    -np.logaddexp(0, -STEP * np.arange(1 << 16, dtype=np.uint16).view(np.int16)) / STEP
).astype(np.int16)
"""Of each log odds, by its bits."""
_WORD = re.compile(r"[^\W_]+")
_MARKS = ".,;:!?'’\"”)"
_NEAR = 40  # characters that are searched for the words next to a mention
_MIN_CAPTIONS = 3  # rarer words are ignored
_MAX_WORDS = 8192
_BATCH = 512  # rows of the table that are computed together, to bound memory
_BAGS = 16384  # bags that are counted together, for the same reason
_PRIOR = 2.0  # pseudo-captions with the average of the domain that each category starts with


class Descriptions:
    """Labeled bags of words, stored as numbers: four bytes per word."""

    def __init__(self, described: Iterable[tuple[int, Iterable[str]]] = ()):
        self._words: dict[str, int] = defaultdict(count().__next__)
        self._labels, self._ends = array("i"), array("q")
        self._said, self._repeated = array("i"), array("i")
        for label, words in described:
            numbers = [self._words[word] for word in words]
            distinct = dict.fromkeys(numbers)
            if len(distinct) < len(numbers):
                self._repeated.extend((Counter(numbers) - Counter(distinct.keys())).elements())
            self._said.extend(distinct)
            self._labels.append(label)
            self._ends.append(len(self._said))

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
            indices = self._said[self._ends[index - 1] if index else 0 : self._ends[index]]
            found.append((self._labels[index], [words[each] for each in indices]))
        return found

    def frequent(self) -> list[str]:
        """Return the frequent words, the most frequent first."""
        times = np.zeros(len(self._words), np.int64)
        for numbers in (self._said, self._repeated):
            times += np.bincount(np.frombuffer(numbers, np.int32), minlength=len(times))
        often = [
            (-number, word)
            for word, number in zip(self._words, times.tolist(), strict=True)
            if number >= _MIN_CAPTIONS
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
            rows = row_of[np.frombuffer(self._said, np.int32)[here[0] : here[-1]]]
            cells = rows * size + labels[start : start + _BAGS].repeat(np.diff(here))
            np.add.at(counts, cells[rows >= 0], 1)
        return counts.reshape(len(words), size)


@dataclass(frozen=True, slots=True)
class Context:
    """What each word adds to the log odds of each of C labels."""

    row: Mapping[str, int]
    """of each word in `table`"""
    table: npt.NDArray[np.int16]
    """(V + 1, C) log odds in units of `STEP`; the last row is 0, for unknown words"""

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
        table[start : start + len(times)] = _log_odds(
            (times + _PRIOR * share) / (described + _PRIOR)
        )
    return Context({word: number for number, word in enumerate(frequent)}, table)


def without_one(log_odds: npt.NDArray[np.int16], described: int) -> npt.NDArray[np.int16]:
    """Return the log odds (n,) of words in a label with `described` captions, without one that has these words."""
    chance = 1 / (1 + np.exp(-STEP * log_odds))
    return _log_odds((chance * (described + _PRIOR) - 1) / (described - 1 + _PRIOR))


def log_chance(log_odds: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """Return the logarithms of the chances with these log odds, both in units of `STEP`."""
    chances: npt.NDArray[np.int16] = _LOG_CHANCE[log_odds.view(np.uint16)]
    return chances


def _log_odds(chance: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
    chance = np.clip(chance, 1e-6, 1 - 1e-3)
    found: npt.NDArray[np.int16] = np.round((np.log(chance) - np.log1p(-chance)) / STEP)
    return found.astype(np.int16)
