"""Hard negatives: does the true caption score above all its negatives? Natural pairs, and the text-only baseline.

The candidates of a row are its caption and its negatives, scored with its image. A tie is a loss. Some
tools, e.g. CLIP_benchmark, take the first of the best instead, so constant scores look perfect there.

In a natural pair, as in Winoground (arXiv 2204.03162), the caption of each image is false for the other. Both captions
are right once and wrong once. So a method that ignores the image wins no pair, and one that ignores the caption wins
none either.

The text-only baseline, reported next to each method's accuracy, is the `context` classifier of `fdrd audit`. It is
trained on the training split (by cross-validation where there is none) and judged like a method: one classifier for
all kinds of negatives, and a tie is a loss.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch

from benchmark.evaluation.ranking import Similarity, distinct
from benchmark.models.backbone import Features
from benchmark.rank_metrics import Floats, Mask, Share
from benchmark.result import PairWins, digits
from fdrd.checks.text_only import text_only_scores
from fdrd.dataset import Indices, RetrievalDataset
from fdrd.negatives.given import plain
from fdrd.progress import Progress, silent
from fdrd.record import Kind, Negative

_FOLDS = 5
_MOST_ROWS = 10_000  # training rows of the baseline; more of them cost time and barely help

Row = tuple[str, tuple[str, ...]]
"""A true caption and its negatives."""


@torch.no_grad()
def hard_negative_wins(
    encode_text: Callable[[Sequence[str]], Features],
    similarity: Similarity,
    images: Features,
    dataset: RetrievalDataset,
    *,
    batch: int = 64,
    progress: Progress = silent,
) -> list[Mask]:
    """Return for each row which of its negatives score below its caption.

    Args:
        encode_text: features of captions; negatives are encoded when needed and not kept.
        similarity: scores of images with captions.
        images: features of the dataset's I images.
        dataset: rows with their negatives.
        batch: rows scored at a time.
        progress: receives the rows done.
    """
    won = [np.zeros(0, bool)] * len(dataset.negatives)
    candidates = _candidates(dataset)
    rows = [row for row, negatives in enumerate(dataset.negatives) if negatives]
    for start in range(0, len(rows), batch):
        chosen = rows[start : start + batch]
        texts = dict.fromkeys(text for row in chosen for text in _texts(candidates[row]))
        position = {text: index for index, text in enumerate(texts)}
        parts, vector = distinct(encode_text(list(position)))
        scores = similarity(images[dataset.pairs[chosen, 0]], parts).float().cpu().numpy()
        for row, of_image in zip(chosen, scores, strict=True):
            columns = vector[[position[text] for text in _texts(candidates[row])]]
            won[row] = of_image[columns[0]] > of_image[columns[1:]]
        progress("score hard negatives", len(rows[: start + batch]), len(rows))
    return won


def hard_negative_shares(
    won: Sequence[Mask],
    negatives: Sequence[Sequence[Negative]],
    text_only: Mapping[str, Mask] | None = None,
) -> dict[str, Share]:
    """Return the accuracy by `all`, kind, and `attribute: type`, over the rows with such negatives.

    Args:
        won: for each row, which of its negatives score below its caption.
        negatives: negatives of each row.
        text_only: by the same names, which of these rows the text-only baseline wins.
    """
    chance: dict[str, list[float]] = defaultdict(list)
    for name, members in _kinds(negatives):
        chance[name].append(1 / (1 + len(members)))
    known = text_only or {}
    return {
        name: _share(wins, float(np.mean(chance[name])), known.get(name))
        for name, wins in sorted(rows_won(won, negatives).items())
    }


def rows_won(won: Iterable[Mask], negatives: Iterable[Sequence[Negative]]) -> dict[str, Mask]:
    """Return by `all`, kind, and `attribute: type` which rows win against all their negatives of that kind.

    >>> negatives = [[Negative("x", "cat", "category"), Negative("y", "dog", "attribute", "color")]]
    >>> {name: wins.tolist() for name, wins in rows_won([np.array([True, False])], negatives).items()}
    {'all': [False], 'category': [True], 'attribute': [False], 'attribute: color': [False]}
    """
    found: dict[str, list[bool]] = defaultdict(list)
    for wins, several in zip(won, negatives, strict=True):
        for name, members in _kinds([several]):
            found[name].append(bool(wins[members].all()))
    return {name: np.array(wins) for name, wins in found.items()}


def _kinds(negatives: Iterable[Sequence[Negative]]) -> Iterator[tuple[str, list[int]]]:
    """Yield for each row the positions of its negatives of each kind."""
    for several in negatives:
        found: dict[str, list[int]] = defaultdict(list)
        for position, negative in enumerate(several):
            found["all"].append(position)
            found[negative.kind].append(position)
            if negative.attribute_type:
                found[f"{negative.kind}: {negative.attribute_type}"].append(position)
        yield from found.items()


def _share(won: Mask, chance: float, text_only: Mask | None) -> Share:
    accuracy, rows = float(won.mean()), len(won)
    if text_only is None:
        return Share(accuracy, rows, chance, text_only=None)
    hard = won[~text_only]
    on_hard = float(hard.mean()) if len(hard) else None
    return Share(accuracy, rows, chance, float(text_only.mean()), on_hard, len(hard))


@torch.no_grad()
def natural_pair_wins(
    similarity: Similarity, images: Features, texts: Features, dataset: RetrievalDataset
) -> dict[Kind, PairWins]:
    """Return by kind which natural pairs of a dataset are won; a tie is a loss.

    Args:
        similarity: scores of images with captions.
        images: features of the dataset's I images.
        texts: features of its C captions.
        dataset: rows with their natural pairs.
    """

    def scores(rows: Indices) -> Floats:
        """Return (2, 2) scores. Equal vectors have equal scores, which a matrix product does not promise."""
        image, caption = dataset.pairs[rows].T
        image_vectors, image = distinct(images[image])
        text_vectors, text = distinct(texts[caption])
        found = similarity(image_vectors, text_vectors).float().cpu().numpy()
        return found[np.ix_(image, text)]

    return {
        kind: pair_wins(pairs, np.array([scores(rows) for rows in pairs]))
        for kind, pairs in dataset.natural_pairs.items()
        if len(pairs)
    }


def pair_wins(pairs: Indices, scores: Floats) -> PairWins:
    """Return which pairs are won.

    Args:
        pairs: (P, 2) the rows of each pair.
        scores: (P, 2, 2) scores of the images of both rows with the captions of both.

    >>> pair_wins(np.array([[0, 1], [2, 3]]), np.array([[[2, 1], [1, 2]], [[2, 1], [2, 3]]]))
    PairWins(rows='0 1 2 3', text='11', image='10', caption_of_row='1111')
    """
    true, false = scores[:, [0, 1], [0, 1]], scores[:, [0, 1], [1, 0]]
    captions = true > false  # of each image
    image = (true > false[:, ::-1]).all(axis=1)  # of each caption
    wins = (captions.all(axis=1), image, captions.ravel())
    return PairWins(" ".join(map(str, pairs.ravel())), *map(digits, wins))


def text_only_baseline(
    measured: RetrievalDataset, train: RetrievalDataset | None
) -> dict[str, Mask]:
    """Return which rows the baseline wins by `all`, kind, and `attribute: type`, as in `hard_negative_shares`.

    Training rows whose caption also occurs among the measured rows are left out. Without training rows that have
    negatives, each fifth of the measured captions is scored after training on the others. The result is empty if a
    fifth has no row.
    """
    rows = [row for row in _candidates(measured) if row[1]]
    if not rows:
        return {}
    known = set(map(plain, measured.captions))
    training = [
        row
        for row in (_candidates(train) if train else ())
        if row[1] and plain(row[0]) not in known
    ]
    every = 1 + (len(training) - 1) // _MOST_ROWS
    scores = _scores(tuple(training[::every]), tuple(rows)) if training else _held_out(rows)
    if not scores:
        return {}
    return rows_won((each[0] > each[1:] for each in scores), filter(None, measured.negatives))


@lru_cache(maxsize=8)  # several methods are measured on one split
def _scores(training: tuple[Row, ...], rows: tuple[Row, ...]) -> list[Floats]:
    return text_only_scores(training, rows, "context")


def _held_out(rows: Sequence[Row]) -> list[Floats]:
    """Return the scores of each row by a baseline trained on the rows of other captions; none if a fold is empty."""
    folds = np.array([zlib.crc32(plain(caption).encode()) % _FOLDS for caption, _ in rows])
    if len(set(folds.tolist())) < _FOLDS:
        return []
    scores: dict[int, Floats] = {}
    for fold in range(_FOLDS):
        training, held_out = (
            np.flatnonzero(part).tolist() for part in (folds != fold, folds == fold)
        )
        found = _scores(*(tuple(rows[index] for index in part) for part in (training, held_out)))
        scores |= zip(held_out, found, strict=True)
    return [scores[index] for index in range(len(rows))]


def _candidates(dataset: RetrievalDataset) -> list[Row]:
    """Return the caption and the negatives of each row."""
    return [
        (dataset.captions[caption], tuple(negative.caption for negative in negatives))
        for caption, negatives in zip(dataset.pairs[:, 1], dataset.negatives, strict=True)
    ]


def _texts(row: Row) -> tuple[str, ...]:
    return row[0], *row[1]
