"""Encode and rank all images and captions of a split with a method, batch by batch; and score single pairs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Protocol

import torch
from PIL.Image import Image

from benchmark.evaluation.metrics import rank_galleries
from benchmark.evaluation.ranking import Ranks
from benchmark.models.backbone import Encoder, Features, concatenate
from benchmark.models.image_batches import Images
from benchmark.models.loading import load_backbone
from benchmark.rank_metrics import ByDirection
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


def encode_both(
    images: Images,
    captions: Sequence[str],
    encode_image: Callable[[Images], Features],
    encode_text: Callable[[Sequence[str]], Features],
    device: torch.device | None,
    progress: Progress = silent,
) -> tuple[Features, Features]:
    """Return features of some images and of some captions, encoded in batches as large as suits the device."""
    size = BATCH if device is None or device.type == "cpu" else ON_ACCELERATOR
    return (
        encoded_in_batches(
            "encode images", len(images), size, lambda rows: encode_image(images[rows]), progress
        ),
        encoded_in_batches(
            "encode captions",
            len(captions),
            size,
            lambda rows: encode_text(captions[rows]),
            progress,
        ),
    )


@torch.no_grad()
def encode_split(
    method: Method, dataset: RetrievalDataset, progress: Progress = silent
) -> tuple[Features, Features]:
    """Return features of the I distinct images and of the C distinct captions, each encoded once."""
    backbone: Encoder | None = getattr(method, "backbone", None)
    return encode_both(
        Images.of(dataset),
        dataset.captions,
        method.encode_image,
        method.encode_text,
        backbone.device if backbone else None,
        progress,
    )


@torch.no_grad()
def rank_split(
    method: Method,
    images: Features,
    texts: Features,
    dataset: RetrievalDataset,
    gallery: Gallery = "domain",
) -> ByDirection[Ranks]:
    """Return the ranks of all queries of a split under a method's similarity."""
    rows = dataset.pairs, dataset.row_category, dataset.image_domain
    return rank_galleries(method.similarity, images, texts, *rows, gallery)


class Loadable(Protocol):
    """An image that decodes itself, such as `fdrd.captioning.UncaptionedImage`."""

    def load(self) -> Image:
        """Return the image as the benchmark sees it: upright, RGB, transparent pixels on white."""


@torch.inference_mode()
def clip_scores(backbone: Encoder, pairs: Iterable[tuple[Image, str]]) -> Iterator[float]:
    """Yield the cosine of each image with its caption, which is behind CLIPScore (arXiv 2104.08718), batch by batch."""
    todo = iter(pairs)
    while batch := list(islice(todo, BATCH)):
        images = backbone.encode_image([image for image, _ in batch]).pooled
        captions = backbone.encode_text([caption for _, caption in batch]).pooled
        yield from (images * captions).sum(dim=1).tolist()


def caption_scorer(
    spec: str, *, allow_code: bool = False
) -> Callable[[Sequence[Loadable], Sequence[str]], list[float]]:
    """Return a scorer for `fdrd.caption(..., score=...)`. The backbone is loaded when it is first used."""
    backbone = cache(lambda: load_backbone(spec, allow_code=allow_code))

    def score(images: Sequence[Loadable], captions: Sequence[str]) -> list[float]:
        loaded = (image.load() for image in images)
        return list(clip_scores(backbone(), zip(loaded, captions, strict=True)))

    return score
