"""A search: a text or a picture in, the records that a method scores highest out.

A text finds images, a picture finds captions. Galleries are scored a batch at a time, and only the
best so far are kept; features of un-prompted towers come from where the backbone keeps them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image

from benchmark.checkpoint import read_header
from benchmark.evaluation.encoding import BATCH
from benchmark.evaluation.scoring import BELOW, Shortlist, scoring_of
from benchmark.models.backbone import Backbone, Features, concatenate
from benchmark.models.clip import CLIPBackbone
from benchmark.models.image_batches import Images
from benchmark.models.loading import cached_backbone, default_backbone
from benchmark.registry import Method
from benchmark.trained import find_checkpoint, load_method, untrained_method
from fdrd.dataset import RetrievalDataset, load_splits
from fdrd.errors import FdrdError
from fdrd.progress import Progress, silent


@dataclass(frozen=True)
class Hit:
    """A record that was found.

    Attributes:
        rank: from 1.
        score: what the method's similarity says.
        split: where it lies.
        record: all columns but the picture, of the first row with that image or caption.
    """

    rank: int
    score: float
    split: str
    record: dict[str, Any]


@dataclass(frozen=True)
class _Item:
    """An image or a caption, by number, of one of the splits."""

    score: float
    split: int
    number: int


@torch.no_grad()
def search(
    method: Method,
    splits: Sequence[RetrievalDataset],
    query: str | Image,
    *,
    k: int = 10,
    progress: Progress = silent,
) -> list[Hit]:
    """The best `k` records: distinct images for a text, distinct captions for a picture.

    Equal scores keep the order of the dataset.

    Args:
        method: as it was made or loaded; nothing is trained.
        splits: what is searched.
        query: a text, or a picture.
        k: how many are wanted.
        progress: told about what is encoded.

    Raises:
        FdrdError: the text is empty, or a score is not a number.
    """
    if isinstance(query, str) and not query.strip():
        raise FdrdError("the query is empty; say what to look for")
    finds_images = isinstance(query, str)
    asked = method.encode_text([query]) if isinstance(query, str) else method.encode_image([query])
    shortlist = scoring_of(method).shortlist
    kept = max(k, shortlist.size) if shortlist else k
    best: list[_Item] = []
    for split, view in enumerate(splits):
        for numbers, found in _encoded(method, view, finds_images, progress):
            scores = (
                method.similarity(found, asked)[:, 0]
                if finds_images
                else method.similarity(asked, found)[0]
            )
            if bool(scores.isnan().any()):
                raise FdrdError("the scores are not all numbers; look at the backbone's weights")
            best += [
                _Item(*each)
                for each in zip(scores.tolist(), [split] * len(numbers), numbers, strict=True)
            ]
            best = _sorted(best)[:kept]
    if shortlist:
        best = _again(method, splits, asked, best, shortlist, finds_images)
    return [_hit(rank, item, splits, finds_images) for rank, item in enumerate(best[:k], start=1)]


def search_data(
    data: str | Path,
    query: str | Image,
    *,
    method: str = "zero_shot",
    checkpoint: str | Path | None = None,
    backbone: str | Backbone | None = None,
    split: str | None = None,
    domain: str | None = None,
    k: int = 10,
    cache: Path | None = None,
    device: str | None = None,
    allow_code: bool = False,
    progress: Progress = silent,
) -> list[Hit]:
    """`search` in a dataset, by a method's name or by a checkpoint; what was encoded is kept in `cache`.

    Args:
        data: folder, registered name or Hub id.
        query: a text, or a picture.
        method: one that needs no training.
        checkpoint: a trained method instead, as a file or a model of the Hub.
        backbone: what `load_backbone` takes, or a backbone; else the one that the checkpoint or
            the manifest names.
        split: only this one.
        domain: only this one.
        k: how many records are wanted.
        cache: of frozen features, else `default_cache()`.
        device: `cpu`, `cuda`.
        allow_code: `backbone` comes from the user, so it may name a function.
        progress: told about what is encoded.

    Raises:
        FdrdError: something that the user can put right.
    """
    splits = load_splits(data, split, domain)  # before the backbone, which takes longer
    wanted = backbone
    if wanted is None and checkpoint is not None:
        wanted = read_header(find_checkpoint(checkpoint)).backbone
    tower = cached_backbone(
        wanted or default_backbone(data),
        cache=cache,
        device=device,
        allow_code=allow_code and backbone is not None,
    )
    ready = (
        load_method(checkpoint, backbone=tower) if checkpoint else untrained_method(method, tower)
    )
    try:
        return search(ready, splits, query, k=k, progress=progress)
    finally:
        if isinstance(tower, CLIPBackbone) and tower.frozen is not None:
            tower.frozen.flush()


def _encoded(
    method: Method, view: RetrievalDataset, images: bool, progress: Progress
) -> Iterator[tuple[range, Features]]:
    """Features of all images or captions of a split, a batch at a time."""
    total = len(view.image_digests) if images else len(view.captions)
    for start in range(0, total, BATCH):
        numbers = range(start, min(start + BATCH, total))
        yield numbers, _features(method, view, numbers, images)
        progress(f"search {view.split}", numbers.stop, total)


def _features(
    method: Method, view: RetrievalDataset, numbers: Sequence[int], images: bool
) -> Features:
    if images:
        return method.encode_image(Images(view, np.asarray(numbers)))
    return method.encode_text([view.captions[number] for number in numbers])


def _again(
    method: Method,
    splits: Sequence[RetrievalDataset],
    asked: Features,
    best: list[_Item],
    shortlist: Shortlist,
    images: bool,
) -> list[_Item]:
    """The best items scored again, pair by pair with the query; the others stay below them."""
    head = best[: shortlist.size]
    found = concatenate([_features(method, splits[i.split], [i.number], images) for i in head])
    query = asked[torch.zeros(len(head), dtype=torch.long)]
    scores = shortlist.score(found, query) if images else shortlist.score(query, found)
    anew = [_Item(s, i.split, i.number) for s, i in zip(scores.tolist(), head, strict=True)]
    rest = [_Item(i.score - BELOW, i.split, i.number) for i in best[shortlist.size :]]
    return _sorted(anew) + rest


def _sorted(items: list[_Item]) -> list[_Item]:
    return sorted(items, key=lambda item: -item.score)  # stable: equals keep their order


def _hit(rank: int, item: _Item, splits: Sequence[RetrievalDataset], images: bool) -> Hit:
    view = splits[item.split]
    row = int(np.argmax(view.pairs[:, 0 if images else 1] == item.number))
    (record,) = view.records([row])
    return Hit(rank, item.score, view.split, record)
