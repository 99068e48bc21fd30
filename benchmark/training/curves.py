"""Curves of a training for TensorBoard (`pip install 'fdrd[tensorboard]'`): loss, rate, validation.

`curves_in` says where they go, and `benchmark.training.loop.fit` draws there: a method knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from benchmark.models import processes
from fdrd.errors import FdrdError

_WRITER: ContextVar[Any] = ContextVar("_WRITER", default=None)


@contextmanager
def curves_in(folder: Path | None) -> Iterator[None]:
    """A training inside draws its curves into `folder`; one that goes on draws on there.

    Raises:
        FdrdError: TensorBoard is not installed.
    """
    if folder is None or not processes.is_main():
        yield
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise FdrdError(
            f"--log needs TensorBoard ({error}); pip install 'fdrd[tensorboard]'"
        ) from error
    with SummaryWriter(str(folder)) as writer:
        token = _WRITER.set(writer)
        try:
            yield
        finally:
            _WRITER.reset(token)


def point(curve: str, step: int, value: float) -> None:
    """One more point of a curve, if anyone draws it."""
    writer = _WRITER.get()
    if writer is not None:
        writer.add_scalar(curve, value, step)
