"""Exact ranks in both directions from one pass over the scores, within each gallery of a split.

The rank of a query is 1 + the number of irrelevant items that score at least as high as its best relevant
one. Ties therefore never help (embeddings-benchmark/mteb#5092 shows what happens otherwise): a scorer that
gives every pair the same value gets the last rank everywhere.

Items. Image to text: the queries are the distinct images, the items are all rows, each with its caption.
Text to image: the queries are the rows, each with its caption, the items are the distinct images. There are
two kinds of relevance: `strict` (rows of the same image; the row's own image) and `caption` (rows whose
caption equals one of the image's; images of any row with that caption).

One pass. A rank needs the best relevant score first. All relevant scores lie in few tiles of the score matrix,
because vectors are ordered so that an image is near its captions. `ScoreMatrix.cells` reads these tiles, then every
tile is visited and counted in both directions; no row is sorted. Everything stays on the device of the scores; only
counts leave it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmark.models.backbone import TENSORS, Features
from benchmark.rank_metrics import KS, ByDirection, Floats, Mask
from benchmark.settings import Gallery, check_gallery
from fdrd.dataset import Indices
from fdrd.errors import FdrdError

Similarity = Callable[[Features, Features], Tensor]
"""Features of I images and C captions -> (I, C) scores."""

Scores = npt.NDArray[np.float32]

HEIGHT, WIDTH = 2048, 4096
"""Default size of a tile: 32 MiB of scores."""
KEPT_BYTES = 256 * 2**20
"""Tiles kept from the first visit, so that a small gallery is scored once."""


@dataclass(frozen=True, eq=False)
class Ranks:
    """Ranks of one direction, for Q images or Q rows.

    Attributes:
        strict: (Q,) rank of the best item of the same image.
        expected: (Q, K) chance that it is among the first 1, 5, 10 if ties are broken at random.
        caption: (Q,) rank if equal captions are relevant too.
        ceiling: (Q,) strict rank under a perfect scorer; above 1 if captions are shared.
        category: (Q,) whether every item with the highest score has the query's category, 1 or 0; NaN without one.
    """

    strict: Indices
    expected: Floats
    caption: Indices
    ceiling: Indices
    category: Floats

    def __getitem__(self, queries: Indices | Mask) -> Ranks:
        return Ranks(*(getattr(self, each.name)[queries] for each in fields(self)))


def rank(
    similarity: Similarity,
    images: Features,
    texts: Features,
    pairs: Indices,
    category: Indices,
    *,
    block: int | None = None,
) -> ByDirection[Ranks]:
    """Return the ranks within one gallery.

    Args:
        similarity: scores of some images with some captions; the same pair always has the same score.
        images: features of the I distinct images.
        texts: features of the C distinct captions.
        pairs: (N, 2) image index and caption index of each row; every index occurs.
        category: (N,) category of each row, -1 for none.
        block: height and width of the tiles; affects memory and speed, not the ranks.

    Raises:
        FdrdError: a score is NaN, or a pair has two scores.
        ValueError: an image or caption is in no row, so its query has no relevant item.

    >>> clear = Features(Tensor(np.eye(3)))
    >>> ranks = rank(lambda i, t: i.pooled @ t.pooled.T, clear, clear,
    ...              np.array([[0, 0], [1, 1], [2, 2]]), np.array([0, 0, 1]))
    >>> ranks.image_to_text.strict.tolist(), ranks.text_to_image.strict.tolist()
    ([1, 1, 1], [1, 1, 1])
    """
    image, caption = pairs.T
    for kind, index, features in (("image", image, images), ("caption", caption, texts)):
        if len(np.unique(index)) != len(features):
            raise ValueError(f"{len(features)} {kind}s have features, but not all are in a row")
    held, pair = unique_rows(np.stack([caption, image], axis=1))  # distinct pairs, by caption
    rows_of_pair, rows_with = np.bincount(pair), np.bincount(caption)
    image_category = np.zeros(len(images), dtype=np.int64)
    image_category[image] = category
    searches, search = unique_rows(np.stack([caption, category + 1], axis=1))

    image_vectors, image_vector = distinct(images, np.argsort(image_category, kind="stable"))
    first_image = np.full(len(texts), len(images))
    np.minimum.at(first_image, caption, image_vector[image])
    text_vectors, text_vector = distinct(texts, np.argsort(first_image, kind="stable"))
    matrix = ScoreMatrix(
        lambda rows, columns: similarity(image_vectors[rows], text_vectors[columns]),
        len(image_vectors),
        len(text_vectors),
        block,
    )
    score = matrix.cells(image_vector[held[:, 1]], text_vector[held[:, 0]])
    one = np.ones(len(held), dtype=np.int64)
    image_best = _best(held[:, 1], score, rows_of_pair)
    image_best_caption = _best(held[:, 1], score, rows_with[held[:, 0]])
    caption_best = _best(held[:, 0], score, one)
    by_row = _Counter(
        (image_vector, image_best.score),
        (image_vector, image_best_caption.score),
        text_vector[caption],
        category + 1,
        np.stack([image_vector, image_category + 1], axis=1),
    )
    by_column = _Counter(
        (text_vector[held[:, 0]], score),
        (text_vector, caption_best.score),
        image_vector,
        image_category + 1,
        np.stack([text_vector[searches[:, 0]], searches[:, 1]], axis=1),
    )
    for rows, columns in matrix.tiles():
        scores = matrix.tile(rows, columns)
        by_row.add(scores, rows, columns)
        by_column.add(scores.T, columns, rows)

    # It cannot distinguish equal captions. Of an image's captions, the one in the fewest other rows ranks first;
    # the images of a shared caption take ranks 1, 2, ...
    image_ceiling = np.full(len(images), 1 + len(pairs))
    np.minimum.at(image_ceiling, held[:, 1], 1 + rows_with[held[:, 0]] - rows_of_pair)
    pair_ceiling = 1 + np.arange(len(held)) - np.searchsorted(held[:, 0], held[:, 0])
    by_image = by_row.ranks(image_best.ties, image_best_caption.ties, image_ceiling)
    by_query = by_column.ranks(one, caption_best.ties, pair_ceiling)
    return ByDirection(
        by_image,
        Ranks(
            strict=by_query.strict[pair],
            expected=by_query.expected[pair],
            caption=by_query.caption[caption],
            ceiling=by_query.ceiling[pair],
            category=by_query.category[search],
        ),
    )


def galleries(image_domain: Indices, gallery: Gallery) -> Iterator[tuple[Indices, Indices]]:
    """Yield the images of each gallery, and those among them that are its queries: one per domain, or one for all.

    Each image is a query once. A number splits every domain into galleries of exactly that size, the same
    for every method. The last one is filled up with images that were queries before.

    Raises:
        FdrdError: a domain has fewer images than the number.

    >>> [(len(members), len(queries)) for members, queries in galleries(np.zeros(10, int), 4)]
    [(4, 4), (4, 4), (4, 2)]
    """
    if gallery == "joint":
        everything = np.arange(len(image_domain))
        yield everything, everything
        return
    for domain in np.unique(image_domain):
        members = np.flatnonzero(image_domain == domain)
        if gallery == "domain":
            yield members, members
            continue
        size = int(gallery)
        check_gallery(size, len(members))
        order = np.random.default_rng([0, int(domain)]).permutation(members)
        for start in range(0, len(order), size):
            queries = order[start : start + size]
            yield np.concatenate([queries, order[: size - len(queries)]]), queries


def rank_galleries(
    similarity: Similarity,
    images: Features,
    texts: Features,
    pairs: Indices,
    category: Indices,
    image_domain: Indices,
    gallery: Gallery,
) -> ByDirection[Ranks]:
    """Call `rank` for every gallery of a split, and combine the ranks by image and by row."""
    to_text, to_image = _empty(len(images)), _empty(len(pairs))
    for members, queries in galleries(image_domain, gallery):
        rows = np.flatnonzero(np.isin(pairs[:, 0], members))
        gallery_images, image = np.unique(pairs[rows, 0], return_inverse=True)
        gallery_texts, caption = np.unique(pairs[rows, 1], return_inverse=True)
        found = rank(
            similarity,
            images[gallery_images],
            texts[gallery_texts],
            np.stack([image, caption], axis=1),
            category[rows],
        )
        is_query = np.isin(gallery_images, queries)
        for whole, part, position, chosen in (
            (to_text, found.image_to_text, gallery_images, is_query),
            (to_image, found.text_to_image, rows, is_query[image]),
        ):
            for each in fields(Ranks):
                getattr(whole, each.name)[position[chosen]] = getattr(part, each.name)[chosen]
    return ByDirection(to_text, to_image)


def _empty(queries: int) -> Ranks:
    strict, caption, ceiling = np.zeros((3, queries), dtype=np.int64)
    return Ranks(strict, np.zeros((queries, len(KS))), caption, ceiling, np.zeros(queries))


def mean_mrr(ranks: ByDirection[Ranks]) -> float:
    """Return the strict MRR averaged over both directions, which selects the best state."""
    return float(np.mean([np.mean(1 / direction.strict) for direction in ranks]))


class _Best(NamedTuple):
    """Per query: its best relevant score, and the number of relevant items with it."""

    score: Scores
    ties: Indices


def _best(query: Indices, score: Scores, count: Indices) -> _Best:
    """Return the best score of each query among its relevant (query, score, number of items) entries."""
    best = np.full(int(query.max()) + 1, -np.inf, dtype=np.float32)
    np.maximum.at(best, query, score)
    ties = np.bincount(query, weights=count * (score == best[query]))
    return _Best(best, ties.astype(np.int64))


def _random_tie_hits(higher: Indices, rank: Indices, relevant: Indices) -> Floats:
    """Return (Q, K) chance that a relevant item is among the first 1, 5, 10 if ties are broken at random.

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
        for taken in range(k):  # the chance that an irrelevant item takes each of the free ranks
            left = np.maximum(tied - taken, 0) / np.maximum(tied + relevant - taken, 1)
            missed[:, column] *= np.where(higher + taken < k, left, 1.0)
    return 1 - missed


def distinct(features: Features, order: Indices | None = None) -> tuple[Features, Indices]:
    """Return the distinct vectors of features, and the index of the vector of each row.

    A matrix product may round two equal columns differently, depending on their position. So each distinct
    vector is scored once and counted as often as it occurs.

    Args:
        features: features of n rows.
        order: rows in the order in which their vectors are listed, by default as they are.

    >>> vectors, vector = distinct(Features(Tensor([[1.0], [0.0], [1.0]])), np.array([1, 0, 2]))
    >>> len(vectors), vector.tolist()
    (2, [1, 0, 1])
    """
    index: dict[tuple[bytes, str], int] = {}
    first: list[int] = []
    vector = np.zeros(len(features), dtype=np.int64)
    values = [getattr(features, name) for name in TENSORS]
    arrays = [value.detach().cpu().numpy() for value in values if value is not None]
    captions = features.captions or [""] * len(features)
    for item in range(len(features)) if order is None else order.tolist():
        content = b"".join(array[item].tobytes() for array in arrays), captions[item]
        if content not in index:
            index[content] = len(index)
            first.append(item)
        vector[item] = index[content]
    return features[np.asarray(first)], vector


def unique_rows(table: Indices) -> tuple[Indices, Indices]:
    """Return the distinct rows of an (n, 2) table of indices, sorted, and the position of each row among them.

    >>> rows, position = unique_rows(np.array([[1, 0], [0, 5], [1, 0]]))
    >>> rows.tolist(), position.tolist()
    ([[0, 5], [1, 0]], [1, 0, 1])
    """
    width = int(table[:, 1].max()) + 1
    keys, position = np.unique(table[:, 0] * width + table[:, 1], return_inverse=True)
    return np.stack([keys // width, keys % width], axis=1), position


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
        tile_of_cell = row // height * -(-self.n_columns // width) + column // width
        order = np.argsort(tile_of_cell, kind="stable")
        wanted, start = np.unique(tile_of_cell[order], return_index=True)
        tiles = list(self.tiles())
        for tile, cells in zip(wanted.tolist(), np.split(order, start[1:]), strict=True):
            rows, columns = tiles[tile]
            scores = self.tile(rows, columns)
            index = np.stack([row[cells] - rows.start, column[cells] - columns.start])
            values[cells] = scores[tuple(torch.from_numpy(index).to(scores.device))].cpu().numpy()
        return values


class _Counter:
    """Sums over tiles for one direction: items by threshold, and the best scores of each category search.

    The queries of a tile are its rows. Equal thresholds are counted once.

    Args:
        strict: query vectors, and the scores to count items at, of strict ranks.
        caption: the same of caption ranks.
        item: vector of each item.
        item_category: its category; 0 means none.
        search: (S, 2) query vector and category of each category search.
    """

    def __init__(
        self,
        strict: tuple[Indices, Scores],
        caption: tuple[Indices, Scores],
        item: Indices,
        item_category: Indices,
        search: Indices,
    ):
        vector = np.concatenate([strict[0], caption[0]])
        score = np.concatenate([strict[1], caption[1]]) + np.float32(0)  # -0.0 becomes 0.0
        keys = vector << 32 | score.view(np.uint32).astype(np.int64)
        _, first, position = np.unique(keys, return_index=True, return_inverse=True)
        self.vector, self.score = vector[first], score[first]  # vectors ascend
        self.of_strict, self.of_caption = np.split(position, [len(strict[0])])
        self.weight = np.bincount(item)
        self.item_category, self.items = unique_rows(np.stack([item_category, item], axis=1))[0].T
        self.order = np.argsort(search[:, 0], kind="stable")
        self.search, self.category = search[self.order].T
        self.at_least = np.zeros(len(self.vector), dtype=np.int64)
        self.above = np.zeros_like(self.at_least)
        self.same = np.full(len(self.search), -np.inf, dtype=np.float32)
        self.other = np.full(len(self.search), -np.inf, dtype=np.float32)
        self._passes = torch.empty(0)  # comparisons as 0.0 and 1.0, which a product then sums

    def add(self, scores: Tensor, rows: slice, columns: slice) -> None:
        """Count the items of a tile."""
        low, high = np.searchsorted(self.vector, [rows.start, rows.stop])
        weight = torch.from_numpy(self.weight[columns]).to(scores)
        for part in _slices(high - low, len(scores)):  # several thresholds may read one row
            span = slice(low + part.start, low + part.stop)
            values = _take(scores, self.vector[span] - rows.start)
            limit = torch.from_numpy(self.score[span]).to(scores).unsqueeze(1)
            passes = self._passes = _like(values, self._passes)
            for compare, count in ((torch.ge, self.at_least), (torch.gt, self.above)):
                hits = compare(values, limit, out=passes) @ weight
                count[span] += hits.cpu().numpy().astype(np.int64)
        self._add_categories(scores, rows, columns)

    def _add_categories(self, scores: Tensor, rows: slice, columns: slice) -> None:
        """Raise the best scores of items of the same category, and of all others."""
        here = (self.items >= columns.start) & (self.items < columns.stop)
        items, item_category = self.items[here] - columns.start, self.item_category[here]
        names, start = np.unique(item_category, return_index=True)
        values = _take(scores.T, items).T
        parts = [values[:, a:b].amax(dim=1) for a, b in pairwise([*start.tolist(), len(items)])]
        best = torch.stack(parts, dim=1).cpu().numpy()  # (rows, categories of this tile)
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

    def ranks(self, strict_ties: Indices, caption_ties: Indices, ceiling: Indices) -> Ranks:
        """Return the ranks from the counts; `ties` are relevant items with the best relevant score."""
        strict = 1 + self.at_least[self.of_strict] - strict_ties
        caption = 1 + self.at_least[self.of_caption] - caption_ties
        if min(strict.min(), caption.min()) < 1:
            raise FdrdError(
                "the similarity of the method gives one pair two scores; it must not depend on the batch"
            )
        expected = _random_tie_hits(self.above[self.of_strict], strict, strict_ties)
        category = np.empty(len(self.search))
        category[self.order] = np.where(self.category == 0, np.nan, self.same > self.other)
        return Ranks(strict, expected, caption, ceiling, category)


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
