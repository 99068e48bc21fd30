"""The options of a build."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BuildConfig:
    """Everything beside the source that determines the bytes of a dataset."""

    name: str = "fdrd"
    """What `load_dataset` calls it on the machine that built it."""
    seed: int = 0
    """Moves hashed splits and hard negatives."""
    negatives: int = 4
    """Hard negatives for each pair; given ones come first."""
    attribute_negatives: int = 2
    """How many of them swap an attribute rather than the category, where the caption allows it."""
    max_pixels: int = 50_000_000
    """Width times height above which an image is refused."""
    shard_bytes: int = 256 * 2**20
    """Image bytes above which a split gets another shard."""
    backbone: str | None = None
    """Hub id that a benchmark on this dataset uses unless told otherwise."""
