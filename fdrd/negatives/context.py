"""Which categories the rest of a caption speaks for: "a hairless cat with ..." for a sphynx.

A negative of a category that the caption's own words rule out ("a hairless pomeranian") is told from the
true caption without the image. So categories are drawn as often as a reader of the words would expect
them: naive Bayes over the words around the mentions, fitted to the captions of the domain.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fdrd.text.mentions import Mention

_WORD = re.compile(r"[^\W_]+")
_MARKS = ".,;:!?'’\"”)"
_NEAR = 40  # characters in which the words beside a mention are looked for
_RARE = 3  # words of fewer captions say little, and are many
_MOST_WORDS = 8192
_AT_ONCE = 512  # rows of the table that are reckoned together
_PRIOR = 2.0  # captions' worth of the domain's average that each category starts with
STEP = (
    1 / 1024
)  # of the whole numbers that logarithms are kept in: sums of those are exact everywhere


class Descriptions:
    """What each of many captions describes, and the words around its mentions: as numbers, four bytes for a word."""

    def __init__(self, described: Iterable[tuple[int, Iterable[str]]] = ()):
        self._words: dict[str, int] = {}
        self._times = array("q")
        self._things, self._ends, self._said = array("i"), array("q"), array("i")
        for thing, words in described:
            self.add(thing, words)

    def add(self, thing: int, words: Iterable[str]) -> None:
        """Adds a caption: the number of what it describes, and words."""
        numbers = [self._words.setdefault(word, len(self._words)) for word in words]
        self._times.extend([0] * (len(self._words) - len(self._times)))
        for number in numbers:
            self._times[number] += 1
        self._said.extend(dict.fromkeys(numbers))
        self._things.append(thing)
        self._ends.append(len(self._said))

    def __len__(self) -> int:
        """The number of captions."""
        return len(self._things)

    @property
    def things(self) -> npt.NDArray[np.int32]:
        """(N,) what each caption describes."""
        return np.array(self._things, dtype=np.int32)

    def every(self, step: int) -> list[tuple[int, list[str]]]:
        """Every so manieth caption, with its words."""
        words = list(self._words)
        found = []
        for number in range(0, len(self), step):
            said = self._said[self._ends[number - 1] if number else 0 : self._ends[number]]
            found.append((self._things[number], [words[each] for each in said]))
        return found

    def frequent(self) -> list[str]:
        """The words that many captions have, those of most captions first."""
        often = [word for word, number in self._words.items() if self._times[number] >= _RARE]
        often.sort(key=lambda word: (-self._times[self._words[word]], word))
        return often[:_MOST_WORDS]

    def counts(self, words: Sequence[str], size: int) -> npt.NDArray[np.int64]:
        """(V, `size`) how many captions of each thing have each of V words."""
        row_of = np.full(len(self._words), -1)
        row_of[[self._words[word] for word in words]] = np.arange(len(words))
        rows = row_of[np.array(self._said, dtype=np.int32)]
        things = self.things.repeat(np.diff(self._ends, prepend=0))
        cells = (rows * size + things)[rows >= 0]
        return np.bincount(cells, minlength=len(words) * size).reshape(len(words), size)


@dataclass(frozen=True, slots=True)
class Context:
    """What each word around a mention adds to the log odds of each category.

    Attributes:
        row: of each word in `table`.
        table: (V + 1, C) log odds in units of `STEP`; the last row is 0, for all other words.
    """

    row: Mapping[str, int]
    table: npt.NDArray[np.int16]

    def scores(self, words: Iterable[str]) -> npt.NDArray[np.int64]:
        """(C,) log odds of each category, in units of `STEP`, up to a constant."""
        rows = [row for row in map(self.row.get, words) if row is not None]
        return np.asarray(self.table[rows].sum(axis=0, dtype=np.int64))

    def rows(self, words: Iterable[str]) -> list[int]:
        """The row of each word; for one that is not known the last row, which says nothing."""
        return [self.row.get(word, -1) for word in words]

    def feed(self, update: Callable[[bytes], None]) -> None:
        """Hands everything that a draw depends on to the `update` of a digest."""
        update(repr(list(self.row)).encode("utf-8", "backslashreplace") + self.table.tobytes())


def around(caption: str, mentions: Sequence[Mention]) -> set[str]:
    """The words of a caption without the mentions; those beside a mention once more, marked as such.

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
    return words


def beside(caption: str, mention: Mention) -> tuple[str, str, str]:
    """The two words before a mention, the one before it and the one after it, marked as such."""
    before = caption[max(0, mention.start - _NEAR) : mention.start].lower().rsplit(None, 2)[-2:]
    after = caption[mention.end : mention.end + _NEAR].lower().split(None, 1)
    first = after[0].strip(_MARKS) if after else ""
    return "<" + " ".join(before), "<" + (before[-1] if before else ""), ">" + first


def fit_context(captions: Descriptions, size: int) -> Context:
    """The context of `size` things, of which each caption describes one."""
    frequent = captions.frequent()
    counts = captions.counts(frequent, size)
    described = np.bincount(captions.things, minlength=size)
    table = np.zeros((len(frequent) + 1, size), dtype=np.int16)
    for start in range(0, len(frequent), _AT_ONCE):  # of floats only a few rows are in memory
        times = counts[start : start + _AT_ONCE]
        share = times.sum(axis=1, keepdims=True) / len(captions)
        chance = np.clip((times + _PRIOR * share) / (described + _PRIOR), 1e-6, 1 - 1e-3)
        odds = np.log(chance) - np.log1p(-chance)
        table[start : start + len(times)] = np.round(odds / STEP)
    return Context({word: number for number, word in enumerate(frequent)}, table)
