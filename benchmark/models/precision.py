"""Arithmetic of the towers. Similarities and losses always use float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]

_PRECISION: ContextVar[Precision] = ContextVar("_PRECISION", default="float32")


@contextmanager
def towers_in(precision: Precision) -> Iterator[None]:
    """Make towers inside the block multiply in this precision; their features stay float32."""
    token = _PRECISION.set(precision)
    try:
        yield
    finally:
        _PRECISION.reset(token)


def tower_autocast(device: torch.device, own: Precision) -> torch.autocast:
    """Return the context in which a tower runs; made inside the block, it may be entered after it.

    Args:
        device: of the tower.
        own: precision of its encoder, used where the block asks for no lower one.
    """
    lower = "bfloat16" in (own, _PRECISION.get())
    return torch.autocast(device.type, torch.bfloat16, enabled=lower)
