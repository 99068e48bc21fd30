"""Exact ranks in both directions, computed for blocks of queries against a whole gallery.

The rank of a query is 1 + the number of irrelevant items that score at least as high as its best relevant
one. Ties therefore never help (embeddings-benchmark/mteb#5092 shows what happens otherwise): a scorer that
gives every pair the same value gets the last rank everywhere.

Items. Image to text: the queries are the distinct images, the items are all rows, each with its caption.
Text to image: the queries are the rows, each with its caption, the items are the distinct images. There are
two kinds of relevance: `strict` (rows of the same image; the row's own image) and `caption` (rows whose
caption equals one of the image's; images of any row with that caption).

Exact ties. A matrix product may round two equal columns differently, depending on their position. So each
distinct vector of a gallery is scored once and counted with the number of items that have it, and the
relevant score is read from the same product as its competitors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from benchmark.evaluation.score_blocks import (
    Floats,
    RankingTask,
    distinct,
    rank_blocks,
    relevance,
    unique_rows,
)
from benchmark.models.backbone import Features
from fdrd.dataset import Indices

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
        category: (Q,) rank of the best item of the query's category.
        average_precision: (Q,) of the items of the query's category; ties rank last.
    """

    strict: Indices
    expected: Floats
    caption: Indices
    ceiling: Indices
    category: Indices
    average_precision: Floats

    def __getitem__(self, queries: Indices | npt.NDArray[np.bool_]) -> Ranks:
        return Ranks(*(getattr(self, field.name)[queries] for field in fields(self)))


class BothRanks(NamedTuple):
    """Ranks by image and by row."""

    image_to_text: Ranks
    text_to_image: Ranks


def rank(
    similarity: Similarity,
    images: Features,
    texts: Features,
    pairs: Indices,
    category: Indices,
    *,
    block: int | None = None,
) -> BothRanks:
    """Return the ranks within one gallery.

    Args:
        similarity: scores of a block of images with a block of captions.
        images: features of the I distinct images.
        texts: features of the C distinct captions.
        pairs: (N, 2) image number and caption number of each row; every number occurs.
        category: (N,) category of each row.
        block: queries scored at a time; affects memory and speed, not the ranks.

    Raises:
        FdrdError: a score is NaN.
        ValueError: an image or caption is in no row, so its query has no relevant item.

    >>> clear = Features(Tensor(np.eye(3)))
    >>> found = rank(lambda i, t: i.pooled @ t.pooled.T, clear, clear,
    ...              np.array([[0, 0], [1, 1], [2, 2]]), np.array([0, 0, 1]))
    >>> found.image_to_text.strict.tolist(), found.text_to_image.strict.tolist()
    ([1, 1, 1], [1, 1, 1])
    """
    image, caption = pairs.T
    _check_rows("image", image, images)
    _check_rows("caption", caption, texts)
    held, pair = unique_rows(np.stack([caption, image], axis=1))  # distinct pairs, by caption
    category_search, search_of_row = _category_searches(caption, category)
    rows_with = np.bincount(caption)  # (C,)
    image_category = np.zeros(len(images), dtype=np.int64)
    image_category[image] = category
    text_vectors, text_vector = distinct(texts)
    image_vectors, image_vector = distinct(images)

    to_text = rank_blocks(
        RankingTask(
            score=lambda rows: similarity(images[rows], text_vectors),
            n_queries=len(images),
            item_vector=text_vector[caption],
            item_category=category,
            strict=relevance(image, text_vector[caption]),
            caption=relevance(held[:, 1], text_vector[held[:, 0]], rows_with[held[:, 0]]),
            category=np.stack([np.arange(len(images)), image_category], axis=1),
        ),
        block,
    )
    to_image = rank_blocks(
        RankingTask(
            score=lambda rows: similarity(image_vectors, texts[rows]).T,
            n_queries=len(texts),
            item_vector=image_vector,
            item_category=image_category,
            strict=relevance(np.arange(len(held)), image_vector[held[:, 1]], score_row=held[:, 0]),
            caption=relevance(held[:, 0], image_vector[held[:, 1]]),
            category=category_search,
        ),
        block,
    )
    image_ceiling, pair_ceiling = _ceilings(held, np.bincount(pair), rows_with, len(images))
    by_row = Ranks(
        strict=to_image.strict[pair],
        expected=to_image.expected[pair],
        caption=to_image.caption[caption],
        ceiling=pair_ceiling[pair],
        category=to_image.category[search_of_row],
        average_precision=to_image.average_precision[search_of_row],
    )
    return BothRanks(Ranks(ceiling=image_ceiling, **to_text._asdict()), by_row)


def _check_rows(kind: str, numbers: Indices, features: Features) -> None:
    if len(np.unique(numbers)) != len(features):
        raise ValueError(f"{len(features)} {kind}s have features, but not all are in a row")


def _category_searches(caption: Indices, category: Indices) -> tuple[Indices, Indices]:
    """Return the distinct pairs of caption and category, and the number of each row's pair."""
    # `unique_rows` takes no negative numbers; -1 means no category.
    searches, search_of_row = unique_rows(np.stack([caption, category + 1], axis=1))
    searches[:, 1] -= 1
    return searches, search_of_row


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
