"""TensorBoard curves of a training (`pip install 'fdrd[tensorboard]'`): loss, learning rate, validation MRR.

`curves_in` sets the folder, and `benchmark.training.loop.fit` writes to it.
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
    """Write the curves of a training inside the block to `folder`; a resumed one continues its curves.

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
    """Add a point to a curve, if curves are written."""
    writer = _WRITER.get()
    if writer is not None:
        writer.add_scalar(curve, value, step)
