"""A source as it was read: its records and rejections in order, with the check of each image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fdrd.images.check import ImageCheck
from fdrd.reasons import Rejection
from fdrd.record import ImageRef, Record

Item = Record | Rejection


@dataclass(frozen=True, slots=True)
class Place:
    """An image below a root."""

    root: str
    image: ImageRef


@dataclass(frozen=True, slots=True)
class SourceContents:
    """A source before anything is decided.

    Attributes:
        items: in the order of the source.
        examined: the image of each record.
        root: below which images lie.
        packed: by digest, where images lie that are not below the root.
    """

    items: list[Item]
    examined: Mapping[ImageRef, ImageCheck]
    root: str
    packed: Mapping[str, Place] = field(default_factory=dict)
