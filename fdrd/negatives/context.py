"""Which categories the rest of a caption speaks for: "a hairless cat with ..." for a sphynx.

A negative of a category that the caption's own words rule out ("a hairless pomeranian") is told from the
true caption without the image. So categories are drawn as often as a reader of the words would expect
them: naive Bayes over the words around the mentions, fitted to the captions of the domain.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fdrd.negatives.mentions import Mention

_WORD = re.compile(r"[^\W_]+")
_MARKS = ".,;:!?'’\"”)"
_NEAR = 40  # characters in which the words beside a mention are looked for
_RARE = 3  # words of fewer captions say little, and are many
_MOST_WORDS = 8192
_PRIOR = 2.0  # captions' worth of the domain's average that each category starts with
STEP = (
    1 / 1024
)  # of the whole numbers that logarithms are kept in: sums of those are exact everywhere


Described = tuple[int, Collection[str]]
"""Place of what a caption describes, and the words around its mentions."""


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


def fit_context(captions: Sequence[Described], size: int) -> Context:
    """The context of `size` things, of which each caption describes one."""
    total = Counter(word for _, words in captions for word in words)
    frequent = sorted(
        (word for word, times in total.items() if times >= _RARE),
        key=lambda word: (-total[word], word),
    )[:_MOST_WORDS]
    row = {word: number for number, word in enumerate(frequent)}
    counts = np.zeros((len(row), size))
    for place, words in captions:
        counts[[row[word] for word in words if word in row], place] += 1
    described = np.bincount([place for place, _ in captions], minlength=size)
    share = counts.sum(axis=1, keepdims=True) / len(captions)
    chance = np.clip((counts + _PRIOR * share) / (described + _PRIOR), 1e-6, 1 - 1e-3)
    odds = np.log(chance) - np.log1p(-chance)
    table = np.round(np.concatenate([odds, np.zeros((1, size))]) / STEP)
    return Context(row, table.astype(np.int16))
