"""Curves of a training: loss, learning rate and validation MRR, as TensorBoard reads them.

`benchmark.training.loop.fit` adds the points. Another tracker is an observer of a `TrainContext`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmark.models import processes
from benchmark.registry import Observer
from fdrd.errors import FdrdError

PREFIX = "tensorboard:"
"""May precede the folder."""


@contextmanager
def tracked(folder: str | Path | None, run: str) -> Iterator[tuple[Observer, ...]]:
    """Give the observer that writes curves, none without a folder; a resumed training continues them.

    Args:
        folder: folder of TensorBoard, or None.
        run: name of the run.

    Raises:
        FdrdError: TensorBoard is not installed, or the folder is a name of another tracker.
    """
    if folder is None or not processes.is_main():
        yield ()
        return
    path = str(folder).removeprefix(PREFIX)
    if path.startswith(("trackio:", "wandb:")):
        raise FdrdError(f"--track {path}: curves are written for TensorBoard; give a folder")
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise FdrdError(
            f"`track` needs tensorboard ({error}); pip install 'fdrd[tensorboard]'"
        ) from error
    with SummaryWriter(str(Path(path, run))) as writer:
        yield (lambda curve, step, value: writer.add_scalar(curve, value, step),)
