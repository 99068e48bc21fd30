"""One drawn image-caption pair: a pure function from (seed, category, image number) to bytes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from fdrd.field_guide.caption import caption
from fdrd.field_guide.rendering import render_pixels
from fdrd.field_guide.sighting import Sighting, sight
from fdrd.field_guide.taxonomy import Category
from fdrd.record import Attribute

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

EXTENSION = "jpg"


@dataclass(frozen=True, slots=True)
class Plate:
    """An image as `pixels` (size, size, 3), its caption and the attribute spans of the caption."""

    sighting: Sighting
    pixels: npt.NDArray[np.uint8]
    caption: str
    attributes: tuple[Attribute, ...]

    @property
    def image(self) -> Image.Image:
        """Return the image for Pillow."""
        return Image.fromarray(self.pixels)

    def encoded(self) -> bytes:
        """Return the image as the bytes of a JPEG file.

        JPEG is reproducible: libjpeg-turbo's default transform uses integers, and its own tests
        require the same bytes from every release and processor. PNG depends on the zlib release,
        and WebP's encoder uses floats. Colors are not subsampled.
        """
        file = io.BytesIO()
        self.image.save(file, "JPEG", quality=90, subsampling=0)
        return file.getvalue()


def draw(category: Category, image: int, *, seed: int = 0, size: int = 128) -> Plate:
    """Draw one image of a category and write its caption.

    The result depends on the arguments alone, so any subset can be drawn in any order.

    Args:
        category: from `categories()`.
        image: number of the image within its category, from 0.
        seed: seed of the dataset.
        size: width and height in pixels. Captions omit details too small to see.
    """
    sighting = sight(category, image, seed)
    text, attributes = caption(sighting, size)
    return Plate(sighting, render_pixels(sighting, size), text, attributes)
