"""A source as it was read: its records and rejections in order, with the check of each image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fdrd.images.check import ImageCheck
from fdrd.reasons import Rejection
from fdrd.record import ImageRef, Record

Item = Record | Rejection


@dataclass(frozen=True, slots=True)
class ImageLocation:
    """An image below a root."""

    root: str
    image: ImageRef


@dataclass(frozen=True, slots=True)
class SourceContents:
    """A source before curation.

    Attributes:
        items: records and rejections in source order.
        checks: the check of each image.
        root: the folder of the images.
        packed: by digest, the location of images that are not below the root.
    """

    items: list[Item]
    checks: dict[ImageRef, ImageCheck]
    root: str
    packed: Mapping[str, ImageLocation] = field(default_factory=dict)
