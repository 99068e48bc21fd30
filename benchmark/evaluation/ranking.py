"""Exact ranks in both directions from one pass over the scores.

The rank of a query is 1 + the number of irrelevant items that score at least as high as its best relevant
one. Ties therefore never help (embeddings-benchmark/mteb#5092 shows what happens otherwise): a scorer that
gives every pair the same value gets the last rank everywhere.

Items. Image to text: the queries are the distinct images, the items are all rows, each with its caption.
Text to image: the queries are the rows, each with its caption, the items are the distinct images. There are
two kinds of relevance: `strict` (rows of the same image; the row's own image) and `caption` (rows whose
caption equals one of the image's; images of any row with that caption).

One pass. A rank needs the best relevant score first. All relevant scores lie in few tiles of the score matrix,
because vectors are ordered so that an image is near its captions. `benchmark.evaluation.score_tiles` reads these
tiles, then visits every tile and counts in both directions; no row is sorted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from benchmark.evaluation.score_tiles import (
    Counts,
    ScoreMatrix,
    Scores,
    Side,
    Thresholds,
    count_tiles,
)
from benchmark.models.backbone import TENSORS, Features
from benchmark.rank_metrics import KS, ByDirection, Floats
from fdrd.dataset import Indices
from fdrd.errors import FdrdError

Similarity = Callable[[Features, Features], Tensor]
"""Features of I images and C captions -> (I, C) scores."""


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

    def __getitem__(self, queries: Indices | npt.NDArray[np.bool_]) -> Ranks:
        return Ranks(*(getattr(self, field.name)[queries] for field in fields(self)))


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
    _check_rows("image", image, images)
    _check_rows("caption", caption, texts)
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
    image_best = _best(held[:, 1], score, rows_of_pair)
    image_best_caption = _best(held[:, 1], score, rows_with[held[:, 0]])
    caption_best = _best(held[:, 0], score, np.ones(len(held), dtype=np.int64))
    to_text = Side(
        query=Thresholds.merge(
            (image_vector, image_best.score), (image_vector, image_best_caption.score)
        ),
        weight=np.bincount(text_vector[caption]),
        item_category=unique_rows(np.stack([text_vector[caption], category + 1], axis=1))[0],
        search=np.stack([image_vector, image_category + 1], axis=1),
    )
    to_image = Side(
        query=Thresholds.merge((text_vector[held[:, 0]], score), (text_vector, caption_best.score)),
        weight=np.bincount(image_vector),
        item_category=unique_rows(np.stack([image_vector, image_category + 1], axis=1))[0],
        search=np.stack([text_vector[searches[:, 0]], searches[:, 1]], axis=1),
    )
    text_counts, image_counts = count_tiles(matrix, to_text, to_image)
    image_ceiling, pair_ceiling = _ceilings(held, rows_of_pair, rows_with, len(images))
    by_image = _ranks(to_text, text_counts, image_best.ties, image_best_caption.ties, image_ceiling)
    by_query = _ranks(
        to_image, image_counts, np.ones(len(held), dtype=np.int64), caption_best.ties, pair_ceiling
    )
    by_row = Ranks(
        strict=by_query.strict[pair],
        expected=by_query.expected[pair],
        caption=by_query.caption[caption],
        ceiling=by_query.ceiling[pair],
        category=by_query.category[search],
    )
    return ByDirection(by_image, by_row)


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


def _ranks(
    side: Side, counts: Counts, strict_ties: Indices, caption_ties: Indices, ceiling: Indices
) -> Ranks:
    """Return the ranks of one direction from the numbers of items at and above each threshold."""
    of_strict, of_caption = side.query.positions
    strict = 1 + counts.at_least[of_strict] - strict_ties
    caption = 1 + counts.at_least[of_caption] - caption_ties
    if min(strict.min(), caption.min()) < 1:
        raise FdrdError(
            "the similarity of the method gives one pair two scores; it must not depend on the batch"
        )
    expected = _random_tie_hits(counts.above[of_strict], strict, strict_ties)
    return Ranks(strict, expected, caption, ceiling, counts.category)


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


def _check_rows(kind: str, indices: Indices, features: Features) -> None:
    if len(np.unique(indices)) != len(features):
        raise ValueError(f"{len(features)} {kind}s have features, but not all are in a row")


def _ceilings(
    held: Indices, rows_of_pair: Indices, rows_with: Indices, n_images: int
) -> tuple[Indices, Indices]:
    """Return the strict ranks of images and of distinct pairs under a perfect scorer.

    It cannot distinguish equal captions. Of an image's captions, the one in the fewest other rows ranks first;
    the images of a shared caption take ranks 1, 2, ...

    Args:
        held: caption and image of the distinct pairs, by caption.
        rows_of_pair: rows of each of them.
        rows_with: rows of each caption.
        n_images: number of distinct images.
    """
    others = np.full(n_images, rows_of_pair.sum())
    np.minimum.at(others, held[:, 1], rows_with[held[:, 0]] - rows_of_pair)
    turn = np.arange(len(held)) - np.searchsorted(held[:, 0], held[:, 0])
    return 1 + others, 1 + turn


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
