"""All images and captions of a split through a method, batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmark.evaluation.galleries import Gallery, rank_galleries
from benchmark.evaluation.ranking import BothRanks
from benchmark.evaluation.scoring import Again, Leak
from benchmark.models.backbone import Features, concatenate
from benchmark.models.image_batches import Images
from fdrd.dataset import RetrievalDataset
from fdrd.progress import Progress, silent

if TYPE_CHECKING:
    from benchmark.registry import Method

BATCH = 64


@torch.no_grad()
def encode_split(
    method: Method,
    dataset: RetrievalDataset,
    progress: Progress = silent,
    leak: Leak | None = None,
) -> tuple[Features, Features]:
    """Features of the I distinct images and of the C distinct captions, each encoded once.

    With a `leak`, each caption is encoded under the image of the first row that it stands in.
    """
    images, captions = Images.of(dataset), dataset.captions
    own = dataset.pairs[np.unique(dataset.pairs[:, 1], return_index=True)[1], 0]
    seen, read = [], []
    for start in range(0, len(images), BATCH):
        seen.append(method.encode_image(images[start : start + BATCH]))
        progress("encode images", len(images[: start + BATCH]), len(images))
    for start in range(0, len(captions), BATCH):
        some = captions[start : start + BATCH]
        shown = Images(dataset, own[start : start + BATCH])
        read.append(leak(some, shown) if leak else method.encode_text(some))
        progress("encode captions", len(captions[: start + BATCH]), len(captions))
    return concatenate(seen), concatenate(read)


@torch.no_grad()
def rank_split(
    method: Method,
    images: Features,
    texts: Features,
    dataset: RetrievalDataset,
    gallery: Gallery = "domain",
    again: Again | None = None,
) -> BothRanks:
    """Ranks of all queries of a split by a method's similarity, and `again` for the best items."""
    return rank_galleries(
        method.similarity,
        images,
        texts,
        dataset.pairs,
        dataset.row_category,
        dataset.image_domain,
        gallery,
        again,
    )
