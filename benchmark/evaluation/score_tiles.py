"""Visit a score matrix tile by tile and count items in both directions, for `benchmark.evaluation.ranking`.

Everything stays on the device of the scores; only counts leave it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmark.rank_metrics import Floats
from fdrd.dataset import Indices
from fdrd.errors import FdrdError

Scores = npt.NDArray[np.float32]

HEIGHT, WIDTH = 2048, 4096
"""Default size of a tile: 32 MiB of scores."""
KEPT_BYTES = 256 * 2**20
"""Tiles kept from the first visit, so that a small gallery is scored once."""


@dataclass(frozen=True, eq=False)
class ScoreMatrix:
    """(n_rows, n_columns) scores of distinct image vectors with distinct text vectors, computed tile by tile."""

    score: Callable[[slice, slice], Tensor]
    n_rows: int
    n_columns: int
    block: int | None = None
    _kept: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    def tiles(self) -> Iterator[tuple[slice, slice]]:
        """Yield the rows and columns of all tiles."""
        for rows in _slices(self.n_rows, self.block or HEIGHT):
            for columns in _slices(self.n_columns, self.block or WIDTH):
                yield rows, columns

    def tile(self, rows: slice, columns: slice) -> Tensor:
        """Return the float32 scores of a tile. A tile has the same values whenever it is computed."""
        key = (rows.start, columns.start)
        if key in self._kept:
            return self._kept[key]
        scores = self.score(rows, columns).detach().to(torch.float32)
        if bool(scores.amax().isnan()):
            raise FdrdError(
                "the scores contain NaN; lower the learning_rate of a trained method, or check the "
                "weights of the backbone"
            )
        if 4 * scores.numel() * (len(self._kept) + 1) <= KEPT_BYTES:
            self._kept[key] = scores
        return scores

    def cells(self, row: Indices, column: Indices) -> Scores:
        """Return the scores of single cells, read from the same tiles that are counted later."""
        values = np.empty(len(row), dtype=np.float32)
        height, width = self.block or HEIGHT, self.block or WIDTH
        across = -(-self.n_columns // width)
        tile_of_cell = row // height * across + column // width
        order = np.argsort(tile_of_cell, kind="stable")
        wanted, start = np.unique(tile_of_cell[order], return_index=True)
        for tile_index, cells in zip(wanted.tolist(), np.split(order, start[1:]), strict=True):
            top, left = tile_index // across * height, tile_index % across * width
            scores = self.tile(
                slice(top, min(top + height, self.n_rows)),
                slice(left, min(left + width, self.n_columns)),
            )
            index = torch.from_numpy(np.stack([row[cells] - top, column[cells] - left]))
            values[cells] = scores[tuple(index.to(scores.device))].cpu().numpy()
        return values


@dataclass(frozen=True, eq=False)
class Thresholds:
    """Distinct (vector, score) queries: how many items score at least `score` with the vector?

    `vector` ascends. `positions` has, for each merged list, the position of its entries.
    """

    vector: Indices
    score: Scores
    positions: tuple[Indices, ...]

    @classmethod
    def merge(cls, *lists: tuple[Indices, Scores]) -> Thresholds:
        """Return the distinct queries of several lists of vectors and scores."""
        vector = np.concatenate([vectors for vectors, _ in lists])
        score = np.concatenate([scores for _, scores in lists]) + np.float32(0)  # -0.0 becomes 0.0
        keys = vector << 32 | score.view(np.uint32).astype(np.int64)
        _, first, position = np.unique(keys, return_index=True, return_inverse=True)
        ends = np.cumsum([len(vectors) for vectors, _ in lists])[:-1]
        return cls(vector[first], score[first], tuple(np.split(position, ends)))


@dataclass(frozen=True, eq=False)
class Side:
    """Queries and items of one direction, by vector.

    Attributes:
        query: thresholds to count items at.
        weight: (V,) number of items that have each vector of the other side.
        item_category: (E, 2) distinct vector and category of the items; category 0 means none.
        search: (S, 2) query vector and category of each category search.
    """

    query: Thresholds
    weight: Indices
    item_category: Indices
    search: Indices


class Counts(NamedTuple):
    """Numbers of items by threshold, and hits by category search."""

    at_least: Indices
    above: Indices
    category: Floats
    """1 if all items with the highest score have the category, else 0; NaN if the search has none"""


def count_tiles(matrix: ScoreMatrix, by_row: Side, by_column: Side) -> tuple[Counts, Counts]:
    """Return the counts of both directions from one visit of each tile."""
    counters = _Counter(by_row), _Counter(by_column)
    for rows, columns in matrix.tiles():
        scores = matrix.tile(rows, columns)
        counters[0].add(scores, rows, columns)
        counters[1].add(scores.T, columns, rows)
    return counters[0].counts(), counters[1].counts()


class _Counter:
    """Sums over tiles for one direction. The queries of a tile are its rows."""

    def __init__(self, side: Side):
        self.side = side
        by_category = np.lexsort((side.item_category[:, 0], side.item_category[:, 1]))
        self.items, self.item_category = side.item_category[by_category].T
        self.order = np.argsort(side.search[:, 0], kind="stable")
        self.search, self.category = side.search[self.order].T
        self.at_least = np.zeros(len(side.query.vector), dtype=np.int64)
        self.above = np.zeros_like(self.at_least)
        self.same = np.full(len(self.search), -np.inf, dtype=np.float32)
        self.other = np.full(len(self.search), -np.inf, dtype=np.float32)
        self._passes = torch.empty(0)  # comparisons as 0.0 and 1.0, which a product then sums

    def add(self, scores: Tensor, rows: slice, columns: slice) -> None:
        """Count the items of a tile."""
        query = self.side.query
        low, high = np.searchsorted(query.vector, [rows.start, rows.stop])
        weight = torch.from_numpy(self.side.weight[columns]).to(scores)
        for part in _slices(high - low, len(scores)):  # several thresholds may read one row
            span = slice(low + part.start, low + part.stop)
            values = _take(scores, query.vector[span] - rows.start)
            limit = torch.from_numpy(query.score[span]).to(scores).unsqueeze(1)
            passes = self._passes = _like(values, self._passes)
            self.at_least[span] += _integers(torch.ge(values, limit, out=passes) @ weight)
            self.above[span] += _integers(torch.gt(values, limit, out=passes) @ weight)
        self._add_categories(scores, rows, columns)

    def _add_categories(self, scores: Tensor, rows: slice, columns: slice) -> None:
        """Raise the best scores of items of the same category, and of all others."""
        here = (self.items >= columns.start) & (self.items < columns.stop)
        items, item_category = self.items[here] - columns.start, self.item_category[here]
        values = _take(scores.T, items).T
        names, start = np.unique(item_category, return_index=True)
        stop = [*start[1:].tolist(), len(items)]
        best = (
            torch.stack(
                [values[:, a:b].amax(dim=1) for a, b in zip(start.tolist(), stop, strict=True)],
                dim=1,
            )
            .cpu()
            .numpy()
        )  # (rows, categories of this tile)
        low, high = np.searchsorted(self.search, [rows.start, rows.stop])
        for part in _slices(high - low, len(scores)):
            span = slice(low + part.start, low + part.stop)
            searched, category = best[self.search[span] - rows.start], self.category[span]
            position = np.minimum(np.searchsorted(names, category), len(names) - 1)
            found = np.flatnonzero(names[position] == category)
            same = np.full(len(searched), -np.inf, dtype=np.float32)
            same[found] = searched[found, position[found]]
            searched[found, position[found]] = -np.inf
            self.same[span] = np.maximum(self.same[span], same)
            self.other[span] = np.maximum(self.other[span], searched.max(axis=1))

    def counts(self) -> Counts:
        """Return what was counted."""
        hits = np.empty(len(self.search))
        hits[self.order] = np.where(self.category == 0, np.nan, self.same > self.other)
        return Counts(self.at_least, self.above, hits)


def _slices(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _take(scores: Tensor, rows: Indices) -> Tensor:
    """Return some rows of the scores, without a copy if they are all rows in order."""
    if len(rows) == len(scores) and np.array_equal(rows, np.arange(len(rows))):
        return scores
    return scores[torch.from_numpy(rows).to(scores.device)]


def _like(values: Tensor, earlier: Tensor) -> Tensor:
    """Return memory in the layout of a tensor: that of an earlier one, because new pages take time."""
    layout, known = ((t.shape, t.stride(), t.device) for t in (values, earlier))
    return earlier if layout == known else torch.empty_like(values)


def _integers(sums: Tensor) -> Indices:
    return sums.cpu().numpy().astype(np.int64)
