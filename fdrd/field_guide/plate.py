"""One drawn image-caption pair: the pure function from (seed, category, image number) to bytes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from fdrd.field_guide.caption import caption
from fdrd.field_guide.picture import picture
from fdrd.field_guide.sighting import Sighting, sight
from fdrd.field_guide.taxonomy import Category
from fdrd.record import Attribute

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

EXTENSION = "jpg"


@dataclass(frozen=True, slots=True)
class Plate:
    """A picture, `pixels` (size, size, 3), its caption and the spans of the caption."""

    sighting: Sighting
    pixels: npt.NDArray[np.uint8]
    caption: str
    attributes: tuple[Attribute, ...]

    @property
    def image(self) -> Image.Image:
        """The picture for Pillow."""
        return Image.fromarray(self.pixels)

    def encoded(self) -> bytes:
        """The picture as the bytes of a JPEG file.

        JPEG, since PNG's compression differs between the zlib releases that Pillow is built with,
        and WebP's encoder reckons in floats. libjpeg-turbo's default transform is whole-numbered,
        and its own tests require the same bytes of every release and processor; no colour is
        subsampled.
        """
        file = io.BytesIO()
        self.image.save(file, "JPEG", quality=90, subsampling=0)
        return file.getvalue()


def draw(category: Category, image: int, *, seed: int = 0, size: int = 128) -> Plate:
    """Draw one image of a category, and write its caption.

    The result depends on the arguments alone: any subset can be drawn in any order, anywhere.

    Args:
        category: from `categories()`.
        image: number of the image within its category, from 0.
        seed: of the data set.
        size: width and height in pixels; what is too small to see is not mentioned.
    """
    sighting = sight(category, image, seed)
    text, attributes = caption(sighting, size)
    return Plate(sighting, picture(sighting, size), text, attributes)
