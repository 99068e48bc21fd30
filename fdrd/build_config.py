"""The options of a build."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from fdrd.errors import FdrdError
from fdrd.policy import resolve
from fdrd.reasons import Action

FORMATS = ("arrow", "parquet")


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
    min_side: int = 8
    """Pixels of the shorter side below which an image is too small."""
    max_aspect: float = 20.0
    """Longer side over shorter side above which an image is too narrow."""
    max_caption: int = 5000
    """Characters above which a caption is refused; text towers read some hundred."""
    shard_bytes: int = 64 * 2**20
    """Image bytes above which a split gets another shard. A killed build redoes less of small ones."""
    format: str = "arrow"
    """Of the shards: one of `FORMATS`."""
    backbone: str | None = None
    """Hub id that a benchmark on this dataset uses unless told otherwise."""
    policy: Mapping[str, Action] = field(default_factory=dict)
    """What is done about each reason of `fdrd.reasons`; those that are not named get their defaults."""

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise FdrdError(f"--format {self.format!r}: choose from {', '.join(FORMATS)}")
        object.__setattr__(self, "policy", resolve(self.policy))
        # The loader of `datasets` looks for names in lower case; the rest are signs of paths.
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", self.name):
            raise FdrdError(
                f"--name {self.name!r}: use small letters, digits, '.', '_' and '-', as in 'my-birds'"
            )
        # A downloaded dataset must not decide what code or which local files a benchmark loads.
        if self.backbone and not re.fullmatch(
            r"\w[\w.-]*/\w[\w.-]*(@[\w.-]+)?|embedded", self.backbone
        ):
            raise FdrdError(
                f"--backbone {self.backbone!r}: a dataset may name a Hub id, as ORG/NAME or "
                "ORG/NAME@REVISION, or 'embedded'; give others to `fdrd bench`"
            )
