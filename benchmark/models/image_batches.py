"""Images on their way to a tower: identified by the digest of their bytes, decoded only when a tower needs pixels.

A training, which repeats images every epoch, keeps recent pixels in memory.
"""

from __future__ import annotations

import hashlib
from collections import ChainMap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from fdrd.dataset import Indices, RetrievalDataset
from fdrd.images.pixels import upright_rgb


@dataclass(frozen=True, eq=False)
class Images:
    """Some images of a dataset.

    A method passes them to `Backbone.encode_image`. If features are cached, they are found by digest and
    no image is decoded.

    Attributes:
        dataset: holds the images.
        numbers: (B,) image numbers of the dataset.
    """

    dataset: RetrievalDataset
    numbers: Indices

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: slice | Sequence[int]) -> Images:
        return Images(self.dataset, np.asarray(self.numbers[rows]))

    @classmethod
    def of(cls, dataset: RetrievalDataset) -> Images:
        """Return all images of a dataset, by number."""
        return cls(dataset, np.arange(len(dataset.image_digests)))


AnyImages: TypeAlias = Images | Sequence[Image]
"""Images of a dataset, or decoded images from elsewhere."""


def as_batch(items: Any) -> Any:
    """Return one caption or one image as a batch of one, and a batch as it is: a string is not a list of letters."""
    return [items] if isinstance(items, str | Image) else items


def select_images(images: AnyImages, rows: Sequence[int]) -> AnyImages:
    """Return the images at these positions of the batch."""
    return images[rows] if isinstance(images, Images) else [images[row] for row in rows]


def decoded(images: AnyImages) -> list[Image]:
    """Return the images upright and in RGB."""
    if isinstance(images, Images):
        return images.dataset.images(images.numbers)
    return [upright_rgb(image) for image in images]


def digests(images: AnyImages) -> list[str]:
    """Return an identifier of each image: the SHA-256 of its file, or of its upright RGB pixels."""
    if isinstance(images, Images):
        return images.dataset.checked_digests(images.numbers)
    return [  # after conversion: the same bytes with another palette are another image
        hashlib.sha256(f"{image.mode} {image.size}".encode() + image.tobytes()).hexdigest()
        for image in map(upright_rgb, images)
    ]


MAX_BYTES = 512 * 2**20
"""Size of the cache: 890 images of 224 x 224."""


class PixelCache:
    """An image processor that opens each image once if a training set fits into memory.

    A full cache is cleared, so images of an earlier training do not block it.
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
        known = ChainMap(made, self._kept)
        found = torch.stack([known[key] for key in keys])
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
