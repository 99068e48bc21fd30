"""Rank blocks of queries against a whole gallery, for `benchmark.evaluation.ranking`."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmark.models.backbone import TENSORS, Features
from benchmark.result import KS
from fdrd.dataset import Indices
from fdrd.errors import FdrdError

Floats = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float32]

BLOCK_BYTES = 32 * 2**20
"""Default size of a block of scores."""


@dataclass(frozen=True, eq=False)
class Relevance:
    """Sparse relevance: `count[e]` of the items with vector `vector[e]` are relevant to `group[e]`.

    A group stands for all equal queries and reads row `score_row[group]` of the scores. Groups are sorted
    by that row, entries by group. The entries of a group begin at `start[group]`.
    """

    score_row: Indices
    start: Indices
    group: Indices
    vector: Indices
    count: Indices


def relevance(
    group: Indices,
    vector: Indices,
    count: Indices | None = None,
    *,
    score_row: Indices | None = None,
) -> Relevance:
    """Return the relevance with entries of the same group and vector summed.

    Args:
        group: of each entry; 0, 1, ... without gaps.
        vector: of each entry.
        count: of each entry, else 1.
        score_row: of each group, else its own number.
    """
    entries, where = unique_rows(np.stack([group, vector], axis=1))
    n_groups = int(group.max()) + 1
    return Relevance(
        score_row=np.arange(n_groups) if score_row is None else score_row,
        start=np.searchsorted(entries[:, 0], np.arange(n_groups + 1)),
        group=entries[:, 0],
        vector=entries[:, 1],
        count=np.bincount(where, weights=count).astype(np.int64),
    )


@dataclass(frozen=True, eq=False)
class RankingTask:
    """One direction's queries and items, by number.

    Attributes:
        score: rows of queries -> (rows, V) scores with the V distinct vectors of the gallery.
        n_queries: number of rows.
        item_vector: vector of each item.
        item_category: category of each item, -1 for none.
        strict: relevance of items.
        caption: relevance of items if equal captions count.
        category: (G, 2) query and category of each category search, sorted by query.
    """

    score: Callable[[slice], Tensor]
    n_queries: int
    item_vector: Indices
    item_category: Indices
    strict: Relevance
    caption: Relevance
    category: Indices


class BlockRanks(NamedTuple):
    """Ranks by group of each relevance; rank and average precision by category search."""

    strict: Indices
    expected: Floats
    """(G, K) chance of a strict hit among the first 1, 5, 10 if ties are broken at random"""
    caption: Indices
    category: Indices
    average_precision: Floats


def rank_blocks(task: RankingTask, block: int | None) -> BlockRanks:
    """Return the ranks of all queries, computed for `block` of them at a time.

    Raises:
        FdrdError: a score is NaN.
    """
    block = block or max(1, BLOCK_BYTES // (4 * len(task.item_vector)))
    of_category = {
        int(number): task.item_vector[task.item_category == number]
        for number in np.unique(task.item_category)
    }
    of_category[-1] = task.item_vector[:0]
    parts = []
    for start in range(0, task.n_queries, block):
        stop = min(start + block, task.n_queries)
        scores = task.score(slice(start, stop)).detach().to("cpu", torch.float32)
        # A copy, because it is sorted in place.
        own: Scores = scores.clone(memory_format=torch.contiguous_format).numpy()
        if np.isnan(own.min()):
            raise FdrdError(
                f"the scores of queries {start} to {stop - 1} contain NaN; lower the "
                f"learning_rate of a trained method, or check the weights of the backbone"
            )
        parts.append(_rank_block(own, start, task, of_category))
    return BlockRanks(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _rank_block(
    scores: Scores, first: int, task: RankingTask, of_category: dict[int, Indices]
) -> BlockRanks:
    """Return the ranks of queries `first`, `first + 1`, ... from their scores, which are overwritten.

    Only scores are sorted, which is much faster than sorting items by score. A binary search then counts
    the items that score at least as high as a relevant one.
    """
    strict = _best(scores, first, task.strict)
    caption = _best(scores, first, task.caption)
    low, high = np.searchsorted(task.category[:, 0], [first, first + len(scores)])
    same_category = [
        (query - first, np.sort(scores[query - first, of_category[category]]))
        for query, category in task.category[low:high].tolist()
    ]
    items = task.item_vector
    ordered = _sort(scores if scores.shape[1] == len(items) else scores[:, items])

    def as_high(row: int, score: Scores | np.float32) -> Indices:
        counts: Indices = len(items) - ordered[row].searchsorted(score)
        return counts

    def ranks(best: _Best) -> Indices:
        counts = [as_high(row, score) for row, score in zip(best.row, best.score, strict=True)]
        return 1 + np.asarray(counts, dtype=np.int64) - best.ties

    higher = [
        len(items) - ordered[row].searchsorted(score, "right")
        for row, score in zip(strict.row, strict.score, strict=True)
    ]

    category = np.zeros(high - low, dtype=np.int64)
    precision = np.zeros(high - low)
    for place, (row, relevant) in enumerate(same_category):
        if not len(relevant):
            continue  # the query has no category
        position = np.arange(len(relevant), 0, -1)  # scores ascend: the best relevant is last
        irrelevant = as_high(row, relevant) - (len(relevant) - relevant.searchsorted(relevant))
        precision[place] = (position / (position + irrelevant)).mean()
        category[place] = 1 + irrelevant[-1]
    pessimistic = ranks(strict)
    expected = _random_tie_hits(np.asarray(higher, dtype=np.int64), pessimistic, strict.ties)
    return BlockRanks(pessimistic, expected, ranks(caption), category, precision)


def _random_tie_hits(higher: Indices, rank: Indices, relevant: Indices) -> Floats:
    """Return (G, K) chance that a relevant item is among the first 1, 5, 10 if ties are broken at random.

    >>> _random_tie_hits(np.array([0, 3]), np.array([4, 4]), np.array([1, 1])).tolist()
    [[0.25, 1.0, 1.0], [0.0, 1.0, 1.0]]

    Args:
        higher: number of items that score higher than the best relevant one.
        rank: 1 + number of irrelevant items that score at least as high.
        relevant: number of relevant items with the best score.
    """
    tied = rank - 1 - higher
    missed = np.ones((len(rank), len(KS)))
    for column, k in enumerate(KS):
        for place in range(k):  # the chance that an irrelevant item takes each of the free places
            left = np.maximum(tied - place, 0) / np.maximum(tied + relevant - place, 1)
            missed[:, column] *= np.where(higher + place < k, left, 1.0)
    return 1 - missed


class _Best(NamedTuple):
    """Per group: its row of the block, its best relevant score, the number of relevant items with it."""

    row: Indices
    score: Scores
    ties: Indices


def _best(scores: Scores, first: int, found: Relevance) -> _Best:
    low, high = np.searchsorted(found.score_row, [first, first + len(scores)])
    row = found.score_row[low:high] - first
    start = found.start[low:high] - found.start[low]
    entries = slice(found.start[low], found.start[high])
    group = found.group[entries] - low
    relevant = scores[row[group], found.vector[entries]]
    best = np.maximum.reduceat(relevant, start)
    ties = np.add.reduceat(found.count[entries] * (relevant == best[group]), start)
    return _Best(row, best, ties)


def _sort(scores: Scores) -> Scores:
    """Sort each row in place, on as many threads as torch uses."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        parts = np.array_split(scores, torch.get_num_threads())
        list(pool.map(lambda part: part.sort(axis=1), parts))
    return scores


def distinct(features: Features) -> tuple[Features, Indices]:
    """Return the distinct vectors of features, and the number of the vector of each row.

    >>> vectors, which = distinct(Features(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])))
    >>> len(vectors), which.tolist()
    (2, [0, 1, 0])
    """
    number: dict[tuple[bytes, str], int] = {}
    first: list[int] = []
    which = np.zeros(len(features), dtype=np.int64)
    values = [getattr(features, name) for name in TENSORS]
    arrays = [value.detach().cpu().numpy() for value in values if value is not None]
    captions = features.captions or [""] * len(features)
    for item, caption in enumerate(captions):
        content = b"".join(array[item].tobytes() for array in arrays), caption
        if content not in number:
            number[content] = len(number)
            first.append(item)
        which[item] = number[content]
    return features[np.asarray(first)], which


def unique_rows(table: Indices) -> tuple[Indices, Indices]:
    """Return the distinct rows of an (n, 2) table of numbers, sorted, and the number of each row among them.

    >>> rows, which = unique_rows(np.array([[1, 0], [0, 5], [1, 0]]))
    >>> rows.tolist(), which.tolist()
    ([[0, 5], [1, 0]], [1, 0, 1])
    """
    width = int(table[:, 1].max()) + 1
    keys, where = np.unique(table[:, 0] * width + table[:, 1], return_inverse=True)
    return np.stack([keys // width, keys % width], axis=1), where
