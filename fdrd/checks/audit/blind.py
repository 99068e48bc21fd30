"""The blind baseline: a reader of captions that never sees an image, told to pick the true one.

If it does better than chance, the negatives betray themselves by their text, and hard-negative accuracy
measures that too. It is a conditional logit over hashed features: each candidate of a row is scored by the
sum of its weights, and the softmax over the row's candidates is trained towards the true one. It scores each
caption by itself, as a dual encoder does, and is tested on captions that it was not trained on.

Two readers. `words` knows which words a candidate has: it finds what a procedure gives away, names that are
only ever right or an article that is only ever wrong. `context` also knows word pairs, and each word that
the candidates differ in together with each word that they share: it finds what the world gives away,
that the hairless cat is the sphynx.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fdrd.negatives.given import plain

Reader = Literal["words", "context"]
Row = tuple[str, Sequence[str]]
"""A true caption and its negatives."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_WORD = re.compile(r"[^\W_]+|[^\w\s]")
_BUCKETS = 1 << 18
_STEPS, _RATE, _PENALTY = 60, 0.1, 1e-4
_AT_ONCE = 4096  # rows to score whose features are held in memory


@dataclass(frozen=True, slots=True)
class Blind:
    """How often a reader picks the true caption.

    Attributes:
        accuracy: share of the rows; a tie of m counts 1/m, so that a reader without a clue is at chance.
        chance: mean of 1 / (1 + number of negatives).
        standard_error: of the accuracy.
        rows: captions that have negatives.
    """

    accuracy: float
    chance: float
    standard_error: float
    rows: int


def blind_accuracy(
    rows: Sequence[Row], reader: Reader = "words", *, folds: int = 5
) -> Blind | None:
    """The reader's accuracy, each row read by one that was trained on other captions.

    None where there are too few captions with negatives for every fold to have one.
    """
    rows = [(caption, negatives) for caption, negatives in rows if negatives]
    fold = np.array([_bucket(plain(caption)) % folds for caption, _ in rows], dtype=np.int64)
    if len(set(fold.tolist())) < folds:
        return None
    table = _table(rows, reader)
    hits = np.zeros(len(rows))
    for held_out in range(folds):
        weights = _train(table, fold != held_out)
        hits += np.where(fold == held_out, _hits(table, weights), 0.0)
    chance = np.mean([1 / (1 + len(negatives)) for _, negatives in rows])
    error = hits.std() / np.sqrt(len(rows))
    return Blind(float(hits.mean()), float(chance), float(error), len(rows))


def blind_scores(train: Sequence[Row], rows: Sequence[Row], reader: Reader) -> list[Floats]:
    """What a reader trained on `train` gives each candidate of each of the `rows`, the true one first.

    The rows' captions should be none of the training's. Equal scores are exactly equal.
    """
    weights = _train(_table(train, reader), np.ones(len(train), dtype=np.bool_))
    found: list[Floats] = []
    for start in range(0, len(rows), _AT_ONCE):
        table = _table(rows[start : start + _AT_ONCE], reader)
        found += np.split(_rounded(table, weights), table.first[1:])
    return found


@dataclass(frozen=True, slots=True)
class _Table:
    """The features of all candidates.

    Attributes:
        bucket: weight of each feature; `owner` says which candidate has it.
        owner: a candidate.
        row: of each candidate; those of a row lie side by side, the true one first.
        first: the true candidate of each row.
    """

    bucket: Integers
    owner: Integers
    row: Integers
    first: Integers

    def scores(self, weights: Floats) -> Floats:
        """The sum of each candidate's weights."""
        summed = np.bincount(self.owner, weights[self.bucket], minlength=len(self.row))
        return summed.astype(np.float64)


def _train(table: _Table, rows: npt.NDArray[np.bool_]) -> Floats:
    """Weights that minimise the rows' mean cross-entropy plus a penalty on their squares (Adam)."""
    weights, mean, square = np.zeros((3, _BUCKETS))
    used = rows[table.row] / max(1, rows.sum())
    for step in range(1, _STEPS + 1):
        scores = table.scores(weights)
        odds = np.exp(scores - np.maximum.reduceat(scores, table.first)[table.row])
        error = odds / np.add.reduceat(odds, table.first)[table.row]
        error[table.first] -= 1
        pull = np.bincount(table.bucket, (error * used)[table.owner], minlength=_BUCKETS)
        slope = pull + 2 * _PENALTY * weights
        mean = 0.9 * mean + 0.1 * slope
        square = 0.99 * square + 0.01 * slope**2
        weights -= _RATE * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1e-8)
    return weights


def _hits(table: _Table, weights: Floats) -> Floats:
    """For each row 1 if the true candidate scores highest, 1/m if m candidates tie there, else 0."""
    scores = _rounded(table, weights)
    best = np.maximum.reduceat(scores, table.first)
    ties = np.add.reduceat((scores == best[table.row]).astype(np.float64), table.first)
    return np.where(scores[table.first] == best, 1 / ties, 0.0)


def _rounded(table: _Table, weights: Floats) -> Floats:
    """The scores, those that differ by the order of a sum alone made equal."""
    return np.round(table.scores(weights), 9)


def _table(rows: Sequence[Row], reader: Reader) -> _Table:
    bucket: list[int] = []
    owner: list[int] = []
    row_of: list[int] = []
    first: list[int] = []
    buckets: dict[str, int] = {}
    for row, (caption, negatives) in enumerate(rows):
        first.append(len(row_of))
        candidates = [set(_grams(text, reader)) for text in (caption, *negatives)]
        shared = set.intersection(*candidates)  # what all have says nothing about which is true
        around = sorted(gram for gram in shared if " " not in gram) if reader == "context" else []
        for candidate in candidates:
            features = sorted(candidate - shared)
            features += [
                f"{one}\0{other}" for one in features if " " not in one for other in around
            ]
            for feature in features:
                if feature not in buckets:
                    buckets[feature] = _bucket(feature)
                bucket.append(buckets[feature])
            owner += [len(row_of)] * len(features)
            row_of.append(row)
    return _Table(*(np.array(part, dtype=np.int64) for part in (bucket, owner, row_of, first)))


def _grams(text: str, reader: Reader) -> Iterator[str]:
    words = _WORD.findall(text)
    yield from words
    if reader == "context":
        yield from map(" ".join, zip(["<s>", *words], [*words, "</s>"], strict=True))


def _bucket(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=4).digest()
    return int.from_bytes(digest, "little") % _BUCKETS
