"""Curves of a training: loss, learning rate and validation MRR, for TensorBoard and for observers.

`benchmark.training.loop.fit` adds the points. `curves_in` writes them for TensorBoard
(`pip install 'fdrd[tensorboard]'`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from benchmark.models import processes
from fdrd.errors import FdrdError

Observer = Callable[[str, int, float], None]
"""Called with the name of a curve, the step and the value of each point. It may raise to stop the training."""

_OBSERVERS: ContextVar[tuple[Observer, ...]] = ContextVar("_OBSERVERS", default=())


@contextmanager
def observed(observer: Observer) -> Iterator[None]:
    """Call an observer with the points of all trainings inside the block."""
    token = _OBSERVERS.set((*_OBSERVERS.get(), observer))
    try:
        yield
    finally:
        _OBSERVERS.reset(token)


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

        def write(curve: str, step: int, value: float) -> None:
            writer.add_scalar(curve, value, step)

        with observed(write):
            yield


def point(curve: str, step: int, value: float) -> None:
    """Add a point to a curve."""
    for observer in _OBSERVERS.get():
        observer(curve, step, value)
