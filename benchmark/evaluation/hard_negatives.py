"""Hard-negative accuracy: does the true caption score above all its negatives? By kind and attribute type.

The candidates of a row are its caption and its negatives, scored with its image. A tie is a loss. Some
tools, e.g. CLIP_benchmark, take the first of the best instead, so constant scores look perfect there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmark.evaluation.ranking import Similarity, distinct
from benchmark.models.backbone import Features
from benchmark.retrieval_metrics import Share
from fdrd.dataset import RetrievalDataset
from fdrd.progress import Progress, silent
from fdrd.record import Negative


@torch.no_grad()
def hard_negative_shares(
    encode_text: Callable[[Sequence[str]], Features],
    similarity: Similarity,
    images: Features,
    dataset: RetrievalDataset,
    *,
    text_only: Mapping[str, npt.NDArray[np.bool_]] | None = None,
    batch: int = 64,
    progress: Progress = silent,
) -> dict[str, Share]:
    """Return the accuracy by `all`, kind, and `attribute: type`, over the rows with such negatives.

    Args:
        encode_text: features of captions; negatives are encoded when needed and not kept.
        similarity: scores of images with captions.
        images: features of the dataset's I images.
        dataset: rows with their negatives.
        text_only: by the same names, which of these rows the text-only baseline wins.
        batch: rows scored at a time.
        progress: receives the rows done.
    """
    won: dict[str, list[bool]] = defaultdict(list)
    chance: dict[str, list[float]] = defaultdict(list)
    rows = [row for row, negatives in enumerate(dataset.negatives) if negatives]
    for start in range(0, len(rows), batch):
        chosen = rows[start : start + batch]
        candidates = [
            [dataset.captions[dataset.pairs[row, 1]], *(n.caption for n in dataset.negatives[row])]
            for row in chosen
        ]
        texts = dict.fromkeys(text for row in candidates for text in row)
        number = {text: place for place, text in enumerate(texts)}
        parts, vector = distinct(encode_text(list(number)))
        of_row = [vector[[number[text] for text in row]] for row in candidates]
        of_image = images[dataset.pairs[chosen, 0]]
        scores = similarity(of_image, parts).float().cpu().numpy()
        for place, row in enumerate(chosen):
            own = scores[place, of_row[place]]
            for name, members in kinds(dataset.negatives[row]).items():
                won[name].append(wins(own, members))
                chance[name].append(1 / (1 + len(members)))
        progress("score hard negatives", len(rows[: start + batch]), len(rows))
    known = text_only or {}
    return {
        name: _share(np.array(won[name]), float(np.mean(chance[name])), known.get(name))
        for name in sorted(won)
    }


def _share(
    won: npt.NDArray[np.bool_], chance: float, text_only: npt.NDArray[np.bool_] | None
) -> Share:
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


def wins(scores: npt.NDArray[Any], members: Sequence[int]) -> bool:
    """Return whether the true caption, number 0, scores above all `members`; a tie is a loss."""
    return bool((scores[0] > scores[members]).all())


def kinds(negatives: Sequence[Negative]) -> dict[str, list[int]]:
    """Return the candidate numbers of the negatives of each kind; number 0 is the true caption.

    >>> kinds([Negative("x", "cat", "category"), Negative("y", "dog", "attribute", "color")])
    {'all': [1, 2], 'category': [1], 'attribute': [2], 'attribute: color': [2]}
    """
    found: dict[str, list[int]] = defaultdict(list)
    for place, negative in enumerate(negatives, 1):
        found["all"].append(place)
        found[negative.kind].append(place)
        if negative.attribute_type:
            found[f"{negative.kind}: {negative.attribute_type}"].append(place)
    return dict(found)
