"""How towers run within a training step: in a lower precision, and a batch in chunks that are encoded again.

One loss uses the features of the whole batch. Its gradient with respect to them is then propagated through one
chunk after another, each encoded again (GradCache, arXiv 2101.06983). Memory is that of a chunk, the gradient that
of the whole batch. Gradient accumulation is not offered: a contrastive loss compares all pairs of a batch, so
summed gradients of smaller batches belong to another loss. Similarities and losses always use float32.

The loop sets both for the step, like `torch.autocast` and `torch.no_grad`, so that a method does not hand them on:
its `encode_image` and `encode_text` serve training and measurement alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import torch
from torch.utils.checkpoint import checkpoint

from benchmark.models.backbone import Features, concatenate

Precision = Literal["float32", "bfloat16"]

_STEP: ContextVar[tuple[Precision, int]] = ContextVar("_STEP", default=("float32", 0))


@contextmanager
def step_numerics(precision: Precision = "float32", chunk_size: int = 0) -> Iterator[None]:
    """Make towers multiply in this precision, and encode in chunks where they take gradients.

    Args:
        precision: precision of the matrix products; features stay float32.
        chunk_size: rows that are encoded at a time; 0 is all at once.
    """
    token = _STEP.set((precision, chunk_size))
    try:
        yield
    finally:
        _STEP.reset(token)


def tower_autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Return the context in which a tower runs; made within the step, it may be entered after it."""
    lower = "bfloat16" in (precision, _STEP.get()[0])
    return torch.autocast(device.type, torch.bfloat16, enabled=lower)


def in_chunks(count: int, encode: Callable[[slice], Features]) -> Features:
    """Return features of `count` rows, encoded in chunks of the size that the step sets."""
    size = _STEP.get()[1]
    if not torch.is_grad_enabled() or not 0 < size < count:
        return encode(slice(0, count))
    return concatenate(
        [
            checkpoint(encode, slice(start, min(start + size, count)), use_reentrant=False)
            for start in range(0, count, size)
        ]
    )
