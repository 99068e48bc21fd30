"""Encode a batch in chunks if its activations do not fit in memory, and again for gradients.

One loss uses the features of the whole batch. Its gradient with respect to them is then propagated through one
chunk after another, each encoded again (GradCache, arXiv 2101.06983). Memory is that of a chunk, the gradient that
of the whole batch. Gradient accumulation is not offered: a contrastive loss compares all pairs of a batch, so
summed gradients of smaller batches belong to another loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch.utils.checkpoint import checkpoint

from benchmark.models.backbone import Features, concatenate

_SIZE: ContextVar[int] = ContextVar("_SIZE", default=0)


@contextmanager
def chunks_of(size: int) -> Iterator[None]:
    """Make towers that take gradients encode `size` rows at a time; 0 is all at once."""
    token = _SIZE.set(size)
    try:
        yield
    finally:
        _SIZE.reset(token)


def in_chunks(count: int, encode: Callable[[slice], Features]) -> Features:
    """Return features of `count` rows, encoded in chunks as set by `chunks_of`."""
    size = _SIZE.get()
    if not torch.is_grad_enabled() or not 0 < size < count:
        return encode(slice(0, count))
    return concatenate(
        [
            checkpoint(encode, slice(start, min(start + size, count)), use_reentrant=False)
            for start in range(0, count, size)
        ]
    )
