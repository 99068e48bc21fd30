"""Images on their way to a tower: known by digest, decoded only when a tower must look at them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from PIL.Image import Image

from fdrd.dataset import Indices, RetrievalDataset
from fdrd.images.pixels import as_seen


@dataclass(frozen=True, eq=False)
class Images:
    """Some images of a dataset.

    A method hands them on to `Backbone.encode_image`; a tower whose features are cached finds
    them by digest and no picture is opened.

    Attributes:
        dataset: where the pictures lie.
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
        """All images of a dataset, by number."""
        return cls(dataset, np.arange(len(dataset.image_digests)))


AnyImages: TypeAlias = Images | Sequence[Image]
"""Images of a dataset, or pictures that are in none."""


def chosen(images: AnyImages, rows: Sequence[int]) -> AnyImages:
    """The images at these positions of the batch."""
    return images[rows] if isinstance(images, Images) else [images[row] for row in rows]


def decoded(images: AnyImages) -> list[Image]:
    """The pictures themselves, as a person sees them: upright, RGB."""
    if isinstance(images, Images):
        return images.dataset.images(images.numbers)
    return [as_seen(image) for image in images]


def digests(images: AnyImages) -> list[str]:
    """What each picture is known by: the sha256 of its file, else of what a person sees of it."""
    if isinstance(images, Images):
        return [images.dataset.image_digests[number] for number in images.numbers]
    return [
        hashlib.sha256(f"{image.mode} {image.size}".encode() + image.tobytes()).hexdigest()
        for image in map(as_seen, images)  # the same bytes with another palette are another picture
    ]
