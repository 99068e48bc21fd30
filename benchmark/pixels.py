"""Pictures as a tower is given them; a training, which goes round and round, keeps the first of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmark.images import AnyImages, chosen, decoded, digests

MOST_BYTES = 512 * 2**20
"""Of what is kept: 890 pictures of 224 x 224."""


class Pixels:
    """An image processor that does nothing twice in a training of few pictures.

    To open and resize a picture costs about as much as a third of a step of a small model. What is full
    stays as it is: to drop the oldest would leave nothing of a set that is larger, at the end of its round.

    Args:
        processor: pictures to `pixel_values`.
        most_bytes: of pictures that are kept.
    """

    def __init__(self, processor: Any, most_bytes: int = MOST_BYTES):
        self._processor = processor
        self._room = most_bytes
        self._kept: dict[str, Tensor] = {}

    def of(self, images: AnyImages) -> Tensor:
        """(B, 3, H, W) of B images; kept where gradients are on, as only a training sees them again."""
        if not torch.is_grad_enabled():
            return self._processed(images)
        keys = digests(images)
        new = [row for row, key in enumerate(keys) if key not in self._kept]
        made = {}
        if new:
            pixels = self._processed(chosen(images, new))
            made = {keys[row]: picture for row, picture in zip(new, pixels, strict=True)}
        found = torch.stack([made[key] if key in made else self._kept[key] for key in keys])
        for key, picture in made.items():
            size = picture.numel() * picture.element_size()
            if size <= self._room:
                self._kept[key] = picture.clone()  # a view would keep the whole batch
                self._room -= size
        return found

    def _processed(self, images: AnyImages) -> Tensor:
        pixels: Tensor = self._processor(images=decoded(images), return_tensors="pt")[
            "pixel_values"
        ]
        return pixels
