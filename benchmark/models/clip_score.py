"""How well captions fit their images under a backbone: the cosine behind CLIPScore (arXiv 2104.08718)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Protocol

import torch
from PIL.Image import Image

from benchmark.models.backbone import Encoder
from benchmark.models.loading import load_backbone

BATCH = 64


class Loadable(Protocol):
    """An image that decodes itself, such as `fdrd.captioning.UncaptionedImage`."""

    def load(self) -> Image:
        """Return the image as the benchmark sees it: upright, RGB, transparent pixels on white."""


@torch.inference_mode()
def clip_scores(backbone: Encoder, pairs: Iterable[tuple[Image, str]]) -> Iterator[float]:
    """Yield the cosine of each image with its caption, with one batch in memory at a time."""
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
