"""Pictures as a tower is given them; a training, which goes round and round, keeps those of its last rounds."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmark.models.image_batches import AnyImages, chosen, decoded, digests

MOST_BYTES = 512 * 2**20
"""Of what is kept: 890 pictures of 224 x 224."""


class Pixels:
    """An image processor that opens a picture once in a training of few.

    What is full begins anew, so that the pictures of an earlier training do not stay in the way; a set
    that does not fit gains the less, the larger it is.

    Args:
        processor: pictures to `pixel_values`.
        most_bytes: of pictures that are kept.
    """

    def __init__(self, processor: Any, most_bytes: int = MOST_BYTES):
        self._processor = processor
        self._most_bytes = most_bytes
        self._kept: dict[str, Tensor] = {}

    def of(self, images: AnyImages) -> Tensor:
        """(B, 3, H, W) of B images; kept where gradients are on, as only a training sees them again."""
        if not torch.is_grad_enabled():
            return self._processed(images)
        keys = digests(images)
        new = [row for row, key in enumerate(keys) if key not in self._kept]
        if not new:
            return torch.stack([self._kept[key] for key in keys])
        pixels = self._processed(chosen(images, new))
        made = {keys[row]: picture for row, picture in zip(new, pixels, strict=True)}
        found = torch.stack([made[key] if key in made else self._kept[key] for key in keys])
        most = self._most_bytes // (pixels[0].numel() * pixels.element_size())
        if len(self._kept) + len(made) > most:
            self._kept.clear()
        if len(made) <= most:
            self._kept |= {key: picture.clone() for key, picture in made.items()}  # no view of all
        return found

    def _processed(self, images: AnyImages) -> Tensor:
        return torch.as_tensor(
            self._processor(images=decoded(images), return_tensors="pt")["pixel_values"]
        )
