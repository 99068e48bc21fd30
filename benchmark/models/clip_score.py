"""How well captions fit their pictures under a backbone: the cosine that CLIPScore (arXiv 2104.08718) is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from PIL.Image import Image

from benchmark.models.backbone import Backbone

BATCH = 64


@torch.inference_mode()
def clip_scores(backbone: Backbone, pairs: Iterable[tuple[Image, str]]) -> Iterator[float]:
    """The cosine of each picture with its caption, a batch of pictures in memory at a time."""
    todo = iter(pairs)
    while batch := list(islice(todo, BATCH)):
        images = backbone.encode_image([image for image, _ in batch]).pooled
        captions = backbone.encode_text([caption for _, caption in batch]).pooled
        yield from (images * captions).sum(dim=1).tolist()
