"""Encode, rank and measure all images and captions of a split with a method; and score single pairs.

R@K is the share of queries that have a relevant item among the first K, as the field uses the word recall.
All values are fractions; reports print percent. With several domains, each number is the unweighted mean
over the domains, each with its own gallery, as in the DCAR paper (arXiv 2508.04028).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL.Image import Image

from benchmark.evaluation.ranking import Ranks, rank_galleries
from benchmark.models.backbone import Encoder, Features, concatenate
from benchmark.models.image_batches import Images
from benchmark.models.loading import load_backbone
from benchmark.rank_metrics import (
    DIRECTIONS,
    PAIRS,
    ByDirection,
    QueryGroups,
    RetrievalMetrics,
    Share,
    by_part,
    rank_metrics,
)
from benchmark.registry import Method
from benchmark.result import PairWins
from benchmark.settings import Gallery
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError
from fdrd.progress import Progress, silent
from fdrd.record import Kind

if TYPE_CHECKING:
    from fdrd.captioning import UncaptionedImage

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

    def encoded(stage: str, items: Any, encode: Callable[[Any], Features]) -> Features:
        return encoded_in_batches(
            stage, len(items), size, lambda rows: encode(items[rows]), progress
        )

    return (
        encoded("encode images", images, encode_image),
        encoded("encode captions", captions, encode_text),
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


def measure(
    ranks: ByDirection[Ranks],
    dataset: RetrievalDataset,
    gallery: Gallery,
    hard_negatives: dict[str, Share],
    natural_pairs: Mapping[Kind, PairWins] | None = None,
) -> RetrievalMetrics:
    """Return all metrics of a split from the ranks of its queries."""
    groups = QueryGroups(dataset.pairs[:, 0], dataset.image_domain, gallery == "joint")
    arrays = {direction: vars(side) for direction, side in zip(DIRECTIONS, ranks, strict=True)}
    by_direction, by_domain = rank_metrics(arrays, groups)
    by_pair = {PAIRS[kind]: wins.metrics() for kind, wins in (natural_pairs or {}).items()}
    categories = [int(each) for each in np.unique(dataset.image_category) if each >= 0]
    by_category = by_part(
        arrays,
        ((dataset.image_category == each, dataset.row_category == each) for each in categories),
    )
    names = [dataset.categories[category] for category in categories]
    return RetrievalMetrics(
        by_direction=by_direction | by_pair,
        by_domain=dict(zip(dataset.domains, by_domain, strict=True)),
        by_category=dict(zip(names, by_category, strict=True)),
        hard_negatives=hard_negatives,
    )


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
) -> Callable[[Sequence[UncaptionedImage], Sequence[str]], list[float]]:
    """Return a scorer for `fdrd.caption(..., score=...)`. The backbone is loaded when it is first used."""
    backbone = cache(lambda: load_backbone(spec, allow_code=allow_code))

    def score(images: Sequence[UncaptionedImage], captions: Sequence[str]) -> list[float]:
        loaded = (image.load() for image in images)
        return list(clip_scores(backbone(), zip(loaded, captions, strict=True)))

    return score
