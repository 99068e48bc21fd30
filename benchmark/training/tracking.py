"""Curves of a training: loss, learning rate and validation MRR, sent to observers and to experiment trackers.

`benchmark.training.loop.fit` adds the points. A tracker is one function below that yields an observer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmark.models import processes
from fdrd.errors import FdrdError

Observer = Callable[[str, int, float], None]
"""Called with the name of a curve, the step and the value of each point. It may raise to stop the training."""


@contextmanager
def tracked(
    target: str | Path | None, run: str, settings: Mapping[str, Any]
) -> Iterator[tuple[Observer, ...]]:
    """Give the observer that sends curves to a tracker, none without a tracker; a resumed training continues them.

    Args:
        target: `tensorboard:FOLDER`, `trackio:PROJECT`, `wandb:PROJECT`, a TensorBoard folder, or None.
        run: name of the run.
        settings: of the run, which some trackers store.

    Raises:
        FdrdError: the tracker is not installed.
    """
    if target is None or not processes.is_main():
        yield ()
        return
    name, colon, place = str(target).partition(":")
    if not colon or name not in TRACKERS:
        name, place = "tensorboard", str(target)
    with TRACKERS[name](place, run, settings) as observer:
        yield (observer,)


@contextmanager
def _tensorboard(folder: str, run: str, settings: Mapping[str, Any]) -> Iterator[Observer]:
    module = _installed("torch.utils.tensorboard", "fdrd[tensorboard]")
    with module.SummaryWriter(str(Path(folder, run))) as writer:
        yield lambda curve, step, value: writer.add_scalar(curve, value, step)


@contextmanager
def _trackio(project: str, run: str, settings: Mapping[str, Any]) -> Iterator[Observer]:
    tracker = _installed("trackio", "trackio")
    tracker.init(project=project, name=run, config=dict(settings), resume="allow", embed=False)
    try:
        yield lambda curve, step, value: tracker.log({curve: value}, step=step)
    finally:
        tracker.finish()


@contextmanager
def _wandb(project: str, run: str, settings: Mapping[str, Any]) -> Iterator[Observer]:
    tracker = _installed("wandb", "wandb")
    with tracker.init(project=project, id=run, config=dict(settings), resume="allow") as writer:
        yield lambda curve, step, value: writer.log({curve: value}, step=step)


Tracker = Callable[[str, str, Mapping[str, Any]], AbstractContextManager[Observer]]
"""Called with a folder or project, the name of a run, and its settings."""

TRACKERS: Mapping[str, Tracker] = {
    "tensorboard": _tensorboard,
    "trackio": _trackio,
    "wandb": _wandb,
}


def _installed(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise FdrdError(f"`track` needs {module} ({error}); pip install '{package}'") from error
