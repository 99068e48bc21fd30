"""Hard-negative accuracy: does the true caption score above all its negatives? By kind and attribute type.

The candidates of a row are its caption and its negatives, scored with its image. A tie is a loss. Some
tools, e.g. CLIP_benchmark, take the first of the best instead, so constant scores look perfect there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch

from benchmark.evaluation.ranking import Similarity, distinct
from benchmark.models.backbone import Features
from benchmark.rank_metrics import Mask
from benchmark.retrieval_metrics import Share
from fdrd.dataset import RetrievalDataset
from fdrd.progress import Progress, silent
from fdrd.record import Negative


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
    rows = [row for row, negatives in enumerate(dataset.negatives) if negatives]
    for start in range(0, len(rows), batch):
        chosen = rows[start : start + batch]
        candidates = [
            [dataset.captions[dataset.pairs[row, 1]], *(n.caption for n in dataset.negatives[row])]
            for row in chosen
        ]
        texts = dict.fromkeys(text for row in candidates for text in row)
        position = {text: number for number, text in enumerate(texts)}
        parts, vector = distinct(encode_text(list(position)))
        scores = similarity(images[dataset.pairs[chosen, 0]], parts).float().cpu().numpy()
        for row, several, of_image in zip(chosen, candidates, scores, strict=True):
            true, *false = of_image[vector[[position[text] for text in several]]]
            won[row] = true > np.array(false)
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
    for several in negatives:
        for name, members in _kinds(several).items():
            chance[name].append(1 / (1 + len(members)))
    known = text_only or {}
    return {
        name: _share(of_kind, float(np.mean(chance[name])), known.get(name))
        for name, of_kind in sorted(rows_won(won, negatives).items())
    }


def rows_won(won: Iterable[Mask], negatives: Iterable[Sequence[Negative]]) -> dict[str, Mask]:
    """Return by `all`, kind, and `attribute: type` which rows win against all their negatives of that kind.

    >>> negatives = [[Negative("x", "cat", "category"), Negative("y", "dog", "attribute", "color")]]
    >>> {name: each.tolist() for name, each in rows_won([np.array([True, False])], negatives).items()}
    {'all': [False], 'category': [True], 'attribute': [False], 'attribute: color': [False]}
    """
    found: dict[str, list[bool]] = defaultdict(list)
    for of_row, several in zip(won, negatives, strict=True):
        for name, members in _kinds(several).items():
            found[name].append(bool(of_row[members].all()))
    return {name: np.array(each) for name, each in found.items()}


def _share(won: Mask, chance: float, text_only: Mask | None) -> Share:
    if text_only is None:
        return Share(float(won.mean()), len(won), chance, text_only=None)
    hard = won[~text_only]
    return Share(
        accuracy=float(won.mean()),
        rows=len(won),
        chance=chance,
        text_only=float(text_only.mean()),
        text_hard=float(hard.mean()) if len(hard) else None,
        text_hard_rows=len(hard),
    )


def _kinds(negatives: Sequence[Negative]) -> dict[str, list[int]]:
    """Return the positions of the negatives of each kind."""
    found: dict[str, list[int]] = defaultdict(list)
    for position, negative in enumerate(negatives):
        found["all"].append(position)
        found[negative.kind].append(position)
        if negative.attribute_type:
            found[f"{negative.kind}: {negative.attribute_type}"].append(position)
    return dict(found)
