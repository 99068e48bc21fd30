"""Encode and rank all images and captions of a split with a method, batch by batch."""

from __future__ import annotations

import numpy as np
import torch

from benchmark.evaluation.galleries import rank_galleries
from benchmark.evaluation.ranking import BothRanks
from benchmark.evaluation.scoring import Leak, Reranker
from benchmark.models.backbone import Features, concatenate
from benchmark.models.image_batches import Images
from benchmark.registry import Method
from benchmark.settings import Gallery
from fdrd.dataset import RetrievalDataset
from fdrd.progress import Progress, silent

BATCH = 64


@torch.no_grad()
def encode_split(
    method: Method,
    dataset: RetrievalDataset,
    progress: Progress = silent,
    leak: Leak | None = None,
) -> tuple[Features, Features]:
    """Return features of the I distinct images and of the C distinct captions, each encoded once.

    With `leak`, each caption is encoded together with the image of the first row that has it.
    """
    images, captions = Images.of(dataset), dataset.captions
    own = dataset.pairs[np.unique(dataset.pairs[:, 1], return_index=True)[1], 0]
    image_parts, text_parts = [], []
    for start in range(0, len(images), BATCH):
        image_parts.append(method.encode_image(images[start : start + BATCH]))
        progress("encode images", len(images[: start + BATCH]), len(images))
    for start in range(0, len(captions), BATCH):
        batch = captions[start : start + BATCH]
        with_images = Images(dataset, own[start : start + BATCH])
        text_parts.append(leak(batch, with_images) if leak else method.encode_text(batch))
        progress("encode captions", len(captions[: start + BATCH]), len(captions))
    return concatenate(image_parts), concatenate(text_parts)


@torch.no_grad()
def rank_split(
    method: Method,
    images: Features,
    texts: Features,
    dataset: RetrievalDataset,
    gallery: Gallery = "domain",
    reranker: Reranker | None = None,
) -> BothRanks:
    """Return the ranks of all queries of a split under a method's similarity."""
    return rank_galleries(
        method.similarity,
        images,
        texts,
        dataset.pairs,
        dataset.row_category,
        dataset.image_domain,
        gallery,
        reranker,
    )
