"""The text-only baseline: a classifier that picks the true caption without seeing the image.

If it beats chance, the text of the negatives gives them away, and hard-negative accuracy measures that too.
The model is a conditional logit over hashed features. The score of a candidate is the sum of its weights,
and the softmax over a row's candidates is trained toward the true caption. Like a dual encoder, it scores
each caption independently. It is tested on captions that it was not trained on.

There are two versions. `words` uses the words of a candidate and finds artifacts of the procedure, for
example names that are never correct. `context` adds word pairs, and each word that differs between the
candidates combined with each word that they share. It finds knowledge about the world, for example that
the hairless cat is the sphynx.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from fdrd.negatives.given import plain

Reader = Literal["words", "context"]
Row = tuple[str, Sequence[str]]  # a true caption and its negatives

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_WORD = re.compile(r"[^\W_]+|[^\w\s]")
_BUCKETS = 1 << 18
_STEPS, _RATE, _PENALTY = 60, 0.1, 1e-4
_BATCH = 4096  # rows that are scored at a time


@dataclass(frozen=True, slots=True)
class TextOnlyScore:
    """How often a reader picks the true caption."""

    accuracy: float
    """share of the rows; a tie of m candidates counts 1/m, so that equal scores give chance"""
    chance: float
    """mean of 1 / (1 + number of negatives)"""
    standard_error: float
    rows: int
    """captions with negatives"""


def text_only_accuracy(
    rows: Sequence[Row], reader: Reader = "words", *, folds: int = 5
) -> TextOnlyScore | None:
    """Return the accuracy by cross-validation over captions; None if some fold has no caption with negatives."""
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
    return TextOnlyScore(float(hits.mean()), float(chance), float(error), len(rows))


def text_only_scores(train: Sequence[Row], rows: Sequence[Row], reader: Reader) -> list[Floats]:
    """Train a reader on `train` and return the scores of each row's candidates, the true caption first.

    The captions of `rows` should not occur in `train`. Tied scores are exactly equal.
    """
    weights = _train(_table(train, reader), np.ones(len(train), dtype=np.bool_))
    found: list[Floats] = []
    for start in range(0, len(rows), _BATCH):
        table = _table(rows[start : start + _BATCH], reader)
        found += np.split(_rounded(table, weights), table.first[1:])
    return found


@dataclass(frozen=True, slots=True)
class _Table:
    """The hashed features of all candidates."""

    bucket: Integers  # of each feature
    owner: Integers  # candidate that has the feature
    row: Integers  # of each candidate; the candidates of a row are adjacent, the true one first
    first: Integers  # true candidate of each row

    def scores(self, weights: Floats) -> Floats:
        """Return the sum of each candidate's weights."""
        summed = np.bincount(self.owner, weights[self.bucket], minlength=len(self.row))
        return summed.astype(np.float64)


def _train(table: _Table, rows: npt.NDArray[np.bool_]) -> Floats:
    """Minimize the mean cross-entropy of the rows plus an L2 penalty with Adam, and return the weights."""
    names, bucket = np.unique(table.bucket, return_inverse=True)  # the weights of others stay 0
    table = replace(table, bucket=bucket.astype(np.int64))
    weights, mean, square = np.zeros((3, len(names)))
    used = rows[table.row] / max(1, rows.sum())
    for step in range(1, _STEPS + 1):
        scores = table.scores(weights)
        odds = np.exp(scores - np.maximum.reduceat(scores, table.first)[table.row])
        error = odds / np.add.reduceat(odds, table.first)[table.row]
        error[table.first] -= 1
        pull = np.bincount(table.bucket, (error * used)[table.owner], minlength=len(names))
        slope = pull + 2 * _PENALTY * weights
        mean = 0.9 * mean + 0.1 * slope
        square = 0.99 * square + 0.01 * slope**2
        weights -= _RATE * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1e-8)
    every = np.zeros(_BUCKETS)
    every[names] = weights
    return every


def _hits(table: _Table, weights: Floats) -> Floats:
    """Return for each row 1 if the true candidate scores highest, 1/m if m candidates tie, else 0."""
    scores = _rounded(table, weights)
    best = np.maximum.reduceat(scores, table.first)
    ties = np.add.reduceat((scores == best[table.row]).astype(np.float64), table.first)
    return np.where(scores[table.first] == best, 1 / ties, 0.0)


def _rounded(table: _Table, weights: Floats) -> Floats:
    """Return the scores, rounded so that the order of summation cannot break ties."""
    return np.round(table.scores(weights), 9)


def _table(rows: Sequence[Row], reader: Reader) -> _Table:
    bucket: list[int] = []
    owner: list[int] = []
    row_of: list[int] = []
    first: list[int] = []
    bucket_of = cache(_bucket)
    for row, (caption, negatives) in enumerate(rows):
        first.append(len(row_of))
        candidates = [set(_grams(text, reader)) for text in (caption, *negatives)]
        shared = set.intersection(*candidates)  # features of all candidates cannot discriminate
        around = sorted(gram for gram in shared if " " not in gram) if reader == "context" else []
        for candidate in candidates:
            features = sorted(candidate - shared)
            features += [
                f"{one}\0{other}" for one in features if " " not in one for other in around
            ]
            bucket += map(bucket_of, features)
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
