"""Batches whose activations do not fit: rows are encoded some at a time, and once more for gradients.

The features of the whole batch go into one loss; its gradient with respect to them then runs back
through one chunk after another, each encoded anew (GradCache, arXiv 2101.06983). So memory is that
of a chunk and the gradient that of the whole batch. Summing the gradients of smaller batches would
be another loss, because a contrastive one compares all pairs of a batch; that is not offered.
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
    """Inside, towers that take gradients encode `size` rows at a time; 0 is all at once."""
    token = _SIZE.set(size)
    try:
        yield
    finally:
        _SIZE.reset(token)


def in_chunks(count: int, encode: Callable[[slice], Features]) -> Features:
    """Features of `count` rows, through as many calls of `encode` as `chunks_of` asks for."""
    size = _SIZE.get()
    if not torch.is_grad_enabled() or not 0 < size < count:
        return encode(slice(0, count))
    return concatenate(
        [
            checkpoint(encode, slice(start, min(start + size, count)), use_reentrant=False)
            for start in range(0, count, size)
        ]
    )
