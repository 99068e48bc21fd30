"""The options of a build."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from fdrd.errors import FdrdError
from fdrd.reasons import Action, resolve

FORMATS = ("arrow", "parquet")


@dataclass(frozen=True, slots=True)
class BuildConfig:
    """All options that determine the bytes of a dataset."""

    name: str = "fdrd"
    """Name for `load_dataset` on the machine that built it, if no other folder has it."""
    seed: int = 0
    """Changes hashed splits and hard negatives."""
    negatives: int = 4
    """Hard negatives per pair; given ones come first."""
    attribute_negatives: int = 2
    """How many of them change an attribute instead of the category, if the caption allows it."""
    max_pixels: int = 50_000_000
    """Maximum width times height of an image."""
    min_side: int = 8
    """Minimum length of the shorter side of an image in pixels."""
    max_aspect: float = 20.0
    """Maximum ratio of the longer to the shorter side of an image."""
    max_caption: int = 5000
    """Maximum length of a caption in characters."""
    shard_bytes: int = 64 * 2**20
    """Image bytes per shard. With smaller shards a killed build repeats less work."""
    format: str = "arrow"
    """Format of the shards: one of `FORMATS`."""
    backbone: str | None = None
    """Hub id of the default backbone for benchmarks on this dataset."""
    policy: Mapping[str, Action] = field(default_factory=dict)
    """Action for each reason of `fdrd.reasons`; missing ones get their defaults."""

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise FdrdError(f"`format` {self.format!r}: choose from {', '.join(FORMATS)}")
        object.__setattr__(self, "policy", resolve(self.policy))
        # The loader of `datasets` needs lower case names without path separators.
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", self.name):
            raise FdrdError(
                f"`name` {self.name!r}: use lower case letters, digits, '.', '_' and '-', e.g. 'my-birds'"
            )
        # A downloaded dataset must not make a benchmark load code or local files.
        if self.backbone and not re.fullmatch(
            r"\w[\w.-]*/\w[\w.-]*(@[\w.-]+)?|embedded", self.backbone
        ):
            raise FdrdError(
                f"`backbone` {self.backbone!r}: must be a Hub id, ORG/NAME or ORG/NAME@REVISION, or "
                "'embedded'; pass other backbones to `fdrd bench`"
            )
