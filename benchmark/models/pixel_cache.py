"""Preprocessed images; a training, which repeats them every epoch, keeps recent ones in memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmark.models.image_batches import AnyImages, decoded, digests, select_images

MAX_BYTES = 512 * 2**20
"""Size of the cache: 890 images of 224 x 224."""


class PixelCache:
    """An image processor that opens each image once if a training set fits into memory.

    A full cache is cleared, so images of an earlier training do not block it.

    Args:
        processor: converts images to `pixel_values`.
        max_bytes: size of the cache.
    """

    def __init__(self, processor: Any, max_bytes: int = MAX_BYTES):
        self._processor = processor
        self._max_bytes = max_bytes
        self._kept: dict[str, Tensor] = {}

    def of(self, images: AnyImages) -> Tensor:
        """Return (B, 3, H, W) of B images; cached only with gradients on, i.e. in training."""
        if not torch.is_grad_enabled():
            return self._processed(images)
        keys = digests(images)
        new = [row for row, key in enumerate(keys) if key not in self._kept]
        if not new:
            return torch.stack([self._kept[key] for key in keys])
        pixels = self._processed(select_images(images, new))
        made = {keys[row]: image for row, image in zip(new, pixels, strict=True)}
        found = torch.stack([made[key] if key in made else self._kept[key] for key in keys])
        capacity = self._max_bytes // (pixels[0].numel() * pixels.element_size())
        if len(self._kept) + len(made) > capacity:
            self._kept.clear()
        if len(made) <= capacity:
            # Clone: a view would keep the whole batch alive.
            self._kept |= {key: image.clone() for key, image in made.items()}
        return found

    def _processed(self, images: AnyImages) -> Tensor:
        return torch.as_tensor(
            self._processor(images=decoded(images), return_tensors="pt")["pixel_values"]
        )
