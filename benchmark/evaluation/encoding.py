"""Encode and rank all images and captions of a split with a method, batch by batch."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from benchmark.evaluation.galleries import rank_galleries
from benchmark.evaluation.ranking import BothRanks
from benchmark.models.backbone import Encoder, Features, concatenate
from benchmark.models.image_batches import Images
from benchmark.registry import Method
from benchmark.settings import Gallery
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError
from fdrd.progress import Progress, silent

BATCH = 64
ON_ACCELERATOR = 512
"""Items of a batch to begin with; halved where memory does not suffice."""


def encoded_in_batches(
    stage: str, count: int, size: int, encode: Callable[[slice], Features], progress: Progress
) -> Features:
    """Return features of `count` items. A batch that does not fit in memory is halved, as are all later ones.

    Raises:
        FdrdError: the device has no room for a single item.
    """
    parts: list[Features] = []
    done, started = 0, time.monotonic()
    while done < count:
        try:
            parts.append(encode(slice(done, done + size)))
        except torch.OutOfMemoryError as error:
            if size == 1:
                raise FdrdError(
                    f"{stage}: a single item does not fit in the memory of the device; free some, choose "
                    f"a smaller backbone, or give `device` cpu"
                ) from error
            size = (size + 1) // 2
            continue
        done = min(done + size, count)
        rate = done / max(time.monotonic() - started, 1e-9)
        progress(f"{stage} | {rate:,.0f} per second", done, count)
    return concatenate(parts)


@torch.no_grad()
def encode_split(
    method: Method, dataset: RetrievalDataset, progress: Progress = silent
) -> tuple[Features, Features]:
    """Return features of the I distinct images and of the C distinct captions, each encoded once."""
    images, captions = Images.of(dataset), dataset.captions
    backbone: Encoder | None = getattr(method, "backbone", None)
    size = ON_ACCELERATOR if backbone and backbone.device.type != "cpu" else BATCH
    return (
        encoded_in_batches(
            "encode images",
            len(images),
            size,
            lambda rows: method.encode_image(images[rows]),
            progress,
        ),
        encoded_in_batches(
            "encode captions",
            len(captions),
            size,
            lambda rows: method.encode_text(captions[rows]),
            progress,
        ),
    )


@torch.no_grad()
def rank_split(
    method: Method,
    images: Features,
    texts: Features,
    dataset: RetrievalDataset,
    gallery: Gallery = "domain",
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
    )
