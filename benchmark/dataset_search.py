"""Search a dataset: a text finds images, an image finds captions.

The gallery is scored batch by batch, and only the best results so far are kept. Features of frozen towers
come from the backbone's cache.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image

from benchmark.checkpoint import find_checkpoint, load_method, read_header, untrained_method
from benchmark.evaluation.encoding import BATCH
from benchmark.models.backbone import Backbone
from benchmark.models.image_batches import Images
from benchmark.models.loading import cached_backbone, default_backbone
from benchmark.registry import Method
from fdrd.dataset import Name, RetrievalDataset, load_splits
from fdrd.errors import FdrdError
from fdrd.progress import Progress, silent


@dataclass(frozen=True)
class Hit:
    """A search result.

    Attributes:
        rank: from 1.
        score: similarity under the method.
        split: that holds the record.
        record: all columns except the image, of the first row with this image or caption.
    """

    rank: int
    score: float
    split: str
    record: dict[str, Any]


def search(
    data: Name | Sequence[RetrievalDataset],
    query: str | Image,
    *,
    method: str | Method = "zero_shot",
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
    """Return the best `k` records: distinct images for a text, distinct captions for an image.

    Equal scores keep the order of the dataset.

    Args:
        data: a dataset (a path, a name or a `fdrd.Dataset`); or loaded splits, to which `split` and `domain`
            do not apply.
        query: a text or an image.
        method: a method, or the name of one that needs no training.
        checkpoint: a file or a Hub model, to search with a trained method instead.
        backbone: a name for `load_backbone`, or a backbone; by default the one that the checkpoint or the
            manifest names. Not used if `method` is a method.
        split: search this split only.
        domain: search this domain only.
        k: number of records.
        cache: folder of frozen features, else `default_cache()`.
        device: `cpu` or `cuda`.
        allow_code: the user typed `backbone`, so it may name a function.
        progress: receives the encoding progress.

    Raises:
        FdrdError: the query is empty, an input is missing, or a score is NaN.
    """
    if isinstance(query, str) and not query.strip():
        raise FdrdError("the query is empty; give a text to search for")
    splits = load_splits(data, split, domain) if isinstance(data, str | os.PathLike) else data
    if not isinstance(method, str):
        return _search(method, splits, query, k, progress)
    named = backbone
    if named is None and checkpoint is not None:
        named = read_header(find_checkpoint(checkpoint)).settings.backbone.name
    tower = cached_backbone(
        named or default_backbone(splits[0].name),
        cache=cache,
        device=device,
        allow_code=allow_code and backbone is not None,
    )
    ready = (
        load_method(checkpoint, backbone=tower) if checkpoint else untrained_method(method, tower)
    )
    try:
        return _search(ready, splits, query, k, progress)
    finally:
        if tower.frozen is not None:
            tower.frozen.flush()


@torch.no_grad()
def _search(
    method: Method,
    splits: Sequence[RetrievalDataset],
    query: str | Image,
    k: int,
    progress: Progress,
) -> list[Hit]:
    images = isinstance(query, str)  # whether images are searched
    features = (
        method.encode_text([query]) if isinstance(query, str) else method.encode_image([query])
    )
    best: list[tuple[float, RetrievalDataset, int]] = []  # score, split, index of the item
    for view in splits:
        total = len(view.image_digests) if images else len(view.captions)
        for start in range(0, total, BATCH):
            indices = range(start, min(start + BATCH, total))
            if images:
                items = method.encode_image(Images(view, np.asarray(indices)))
                scores = method.similarity(items, features)[:, 0]
            else:
                items = method.encode_text([view.captions[index] for index in indices])
                scores = method.similarity(features, items)[0]
            if bool(scores.isnan().any()):
                raise FdrdError("a score is NaN; check the weights of the backbone")
            best += [(s, view, index) for s, index in zip(scores.tolist(), indices, strict=True)]
            best = sorted(best, key=lambda item: -item[0])[:k]  # stable: ties keep their order
            progress(f"search {view.split}", indices.stop, total)
    hits = []
    for rank, (score, view, index) in enumerate(best, start=1):
        row = int(np.argmax(view.pairs[:, 0 if images else 1] == index))
        (record,) = view.records([row])
        hits.append(Hit(rank, score, view.split, record))
    return hits
