"""Bootstrap resampling of images. The seed is fixed, so an interval depends on the ranks alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fdrd.dataset import Indices

_BLOCK = 2_000_000
"""Numbers drawn at a time."""


def resampled_counts(
    generator: np.random.Generator, n: int, draws: int
) -> Iterator[tuple[int, Indices]]:
    """Yield blocks of draws: the number of the first one, and (block, n) how often each unit is drawn."""
    block = max(1, _BLOCK // n)
    for start in range(0, draws, block):
        size = min(block, draws - start)
        drawn = generator.integers(n, size=(size, n))
        drawn += n * np.arange(size)[:, None]
        yield start, np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
