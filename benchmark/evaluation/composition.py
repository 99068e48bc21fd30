"""Composition: can a method tell apart captions that share most words, and find all matches of a query?

SugarCrepe asks for the right one of two captions. SugarCrepe++ asks that two right captions score above a wrong one
(image-text task, ITT), and are more similar to each other than to it (text-only task, TOT). ECCV Caption is COCO
retrieval with many relevant items per query. Equal scores count against the method.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmark.evaluation.composition_files import Choice, Choices, ManyMatches
from benchmark.evaluation.encoding import BATCH
from benchmark.evaluation.ranking import distinct
from benchmark.models.backbone import Features, concatenate
from benchmark.registry import Method
from fdrd.checks.text_only import text_only_scores
from fdrd.files.safe_open import resolve_inside
from fdrd.images.check import open_image
from fdrd.negatives.given import plain
from fdrd.progress import Progress, silent

FOLDS = 5


@dataclass(frozen=True)
class CompositionScore:
    """One number of one file.

    Attributes:
        file: its name.
        metric: `accuracy`, `ITT`, `TOT`; or `mAP@R`, `R-precision`, `R@1` with a direction.
        score: of the method, a fraction.
        text_only: of the text-only baseline; None if there are too few rows for it, and for retrieval, where a
            scorer without the image cannot be above chance.
        chance: of random scores.
        rows: rows, or queries.
    """

    file: str
    metric: str
    score: float
    text_only: float | None
    chance: float
    rows: int


def composition(
    method: Method,
    files: Sequence[Choices | ManyMatches],
    images: Path,
    progress: Progress = silent,
) -> list[CompositionScore]:
    """Measure a method on files of SugarCrepe, SugarCrepe++ and ECCV Caption.

    Args:
        method: trained, or in need of no training.
        files: from `read_composition`.
        images: folder of COCO's images.
        progress: receives the rows done.

    Raises:
        FdrdError: an image is broken.
    """
    return [
        score
        for file in files
        for score in (
            _choice_scores(method, file, images, progress)
            if isinstance(file, Choices)
            else _retrieval_scores(method, file, images, progress)
        )
    ]


@torch.no_grad()
def _choice_scores(
    method: Method, file: Choices, folder: Path, progress: Progress
) -> list[CompositionScore]:
    rows = file.rows
    right, texts_alike = [], []
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        each = [[*row.right, row.negative_caption] for row in batch]
        width = len(each[0])
        images = method.encode_image(
            [open_image(resolve_inside(folder, row.filename)) for row in batch]
        )
        texts = method.encode_text([caption for row in each for caption in row])
        vectors, which = distinct(texts)  # equal columns may round differently in a product
        every = method.similarity(images, vectors)[:, which].view(len(batch), len(batch), width)
        own = every[range(len(batch)), range(len(batch))]  # (B, captions), the wrong one last
        right += (own[:, :-1] > own[:, -1:]).all(dim=1).tolist()
        if width == 3:
            texts_alike += _alike(texts.pooled.view(len(batch), width, -1)).tolist()
        progress(f"{file.name}", min(start + BATCH, len(rows)), len(rows))
    pairs = [[(caption, row.negative_caption) for caption in row.right] for row in rows]
    blind = text_only_share(pairs)
    if not texts_alike:
        return [_score(file, "accuracy", right, blind, 1 / 2)]
    return [
        _score(file, "ITT", right, blind, 1 / 3),
        _score(file, "TOT", texts_alike, float(np.mean([_overlap(row) for row in rows])), 1 / 3),
    ]


def _score(
    file: Choices, metric: str, won: Sequence[bool], text_only: float | None, chance: float
) -> CompositionScore:
    return CompositionScore(
        file.name, metric, float(np.mean(won)), text_only, chance, len(file.rows)
    )


def _alike(texts: Tensor) -> Tensor:
    """Return (B,) whether the first two of three texts (B, 3, d) are the most similar pair."""
    one, other, wrong = texts.unbind(1)
    both = (one * other).sum(1)
    return (both > (one * wrong).sum(1)) & (both > (other * wrong).sum(1))


def _overlap(row: Choice) -> bool:
    """Return whether the right captions share more words with each other than with the wrong one."""
    one, other, wrong = (
        set(plain(text).split()) for text in (row.caption, row.caption2, row.negative_caption)
    )

    def shared(a: set[str], b: set[str]) -> float:
        return len(a & b) / max(len(a | b), 1)

    return shared(one, other) > max(shared(one, wrong), shared(other, wrong))


def text_only_share(rows: Sequence[Sequence[tuple[str, str]]]) -> float | None:
    """Return how often the text-only baseline picks all right captions of a row, by cross-validation.

    Args:
        rows: pairs of a right caption and the wrong one.

    Returns:
        A fraction; None if a fold is empty.
    """
    # Equal captions share a fold, so that none is known from training.
    fold = [hashlib.sha256(plain(row[0][0]).encode()).digest()[0] % FOLDS for row in rows]
    if len(set(fold)) < FOLDS:
        return None
    won = 0
    for held_out in range(FOLDS):
        train, test = (
            [row for row, own in zip(rows, fold, strict=True) if (own == held_out) == wanted]
            for wanted in (False, True)
        )
        scores = np.array(text_only_scores(_flat(train), _flat(test), "context"))  # (pairs, 2)
        won += int((scores[:, 0] > scores[:, 1]).reshape(len(test), -1).all(axis=1).sum())
    return won / len(rows)


def _flat(rows: Iterable[Sequence[tuple[str, str]]]) -> list[tuple[str, tuple[str, ...]]]:
    return [(right, (wrong,)) for row in rows for right, wrong in row]


@torch.no_grad()
def _retrieval_scores(
    method: Method, file: ManyMatches, folder: Path, progress: Progress
) -> list[CompositionScore]:
    image_ids, caption_ids = list(file.images), list(file.captions)
    names, captions = list(file.images.values()), list(file.captions.values())

    def encoded(what: str, total: int, encode: Callable[[range], Features]) -> Features:
        parts = []
        for start in range(0, total, BATCH):
            numbers = range(start, min(start + BATCH, total))
            parts.append(encode(numbers))
            progress(f"{file.name} {what}", numbers.stop, total)
        return concatenate(parts)

    images = encoded(
        "images",
        len(names),
        lambda numbers: method.encode_image(
            [open_image(resolve_inside(folder, names[number])) for number in numbers]
        ),
    )
    texts = encoded(
        "captions",
        len(captions),
        lambda numbers: method.encode_text([captions[number] for number in numbers]),
    )

    (images, of_image), (texts, of_text) = distinct(images), distinct(texts)

    def of_images(rows: Sequence[int]) -> Tensor:
        return method.similarity(images[of_image[rows]], texts)[:, of_text]

    def of_captions(rows: Sequence[int]) -> Tensor:
        return method.similarity(images, texts[of_text[rows]]).T[:, of_image]

    return [
        *_graded(file.name, "image to text", of_images, image_ids, caption_ids, file.of_image),
        *_graded(file.name, "text to image", of_captions, caption_ids, image_ids, file.of_caption),
    ]


def _graded(
    name: str,
    direction: str,
    scores: Callable[[Sequence[int]], Tensor],
    queries: Sequence[int],
    gallery: Sequence[int],
    relevant: Mapping[int, Sequence[int]],
) -> list[CompositionScore]:
    row_of = {number: row for row, number in enumerate(queries)}
    place_of = {number: place for place, number in enumerate(gallery)}
    asked = [query for query in relevant if relevant[query]]
    found, chance = [], []
    for start in range(0, len(asked), BATCH):
        batch = asked[start : start + BATCH]
        rows = scores([row_of[query] for query in batch]).float().cpu().numpy()
        for query, own in zip(batch, rows, strict=True):
            places = sorted({place_of[number] for number in relevant[query]})
            found.append(retrieval_metrics(own, places))
            chance.append(chance_metrics(len(places), len(gallery)))
    return [
        CompositionScore(name, f"{metric} {direction}", score, None, by_chance, len(asked))
        for metric, score, by_chance in zip(
            ("mAP@R", "R-precision", "R@1"),
            np.mean(found, axis=0).tolist(),
            np.mean(chance, axis=0).tolist(),
            strict=True,
        )
    ]


def retrieval_metrics(
    scores: npt.NDArray[np.float32], relevant: Sequence[int]
) -> tuple[float, float, float]:
    """Return mAP@R, R-precision and R@1 of a query with R relevant items, as ECCV Caption defines them.

    mAP@R is the mean over ranks 1 to R of the precision at a rank, counted as 0 where the item is irrelevant.

    >>> retrieval_metrics(np.float32([0.9, 0.8, 0.7, 0.1]), [0, 2])
    (0.5, 0.5, 1.0)
    """
    is_relevant = np.zeros(len(scores), dtype=bool)
    is_relevant[list(relevant)] = True
    order = np.lexsort((is_relevant, -scores))  # of equal scores, relevant ones last
    hits = is_relevant[order[: len(relevant)]]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float((precision * hits).mean()), float(hits.mean()), float(hits[0])


def chance_metrics(relevant: int, gallery: int) -> tuple[float, float, float]:
    """Return the expected mAP@R, R-precision and R@1 of a random order.

    >>> [round(value, 4) for value in chance_metrics(2, 4)]  # (1/2 + 1/2 (1/2 + 1/3 / 2)) / 2
    [0.4167, 0.5, 0.5]
    """
    ranks = np.arange(1, relevant + 1)
    others = (relevant - 1) / max(gallery - 1, 1)  # another relevant item at an earlier rank
    share = relevant / gallery
    return float((share * (1 + (ranks - 1) * others) / ranks).mean()), share, share
