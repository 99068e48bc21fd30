"""Cosine between an image and its caption, the basis of CLIPScore (arXiv 2104.08718)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from PIL.Image import Image

from benchmark.models.backbone import Backbone

BATCH = 64


@torch.inference_mode()
def clip_scores(backbone: Backbone, pairs: Iterable[tuple[Image, str]]) -> Iterator[float]:
    """Yield the cosine of each image with its caption, with one batch of images in memory."""
    remaining = iter(pairs)
    while batch := list(islice(remaining, BATCH)):
        images = backbone.encode_image([image for image, _ in batch]).pooled
        captions = backbone.encode_text([caption for _, caption in batch]).pooled
        yield from (images * captions).sum(dim=1).tolist()
