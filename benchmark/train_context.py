"""What a training reports to, and where it is saved. Nothing here changes a number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fdrd.progress import Progress, silent

Observer = Callable[[str, int, float], None]
"""Called with the name of a curve, the step and the value of each point. It may raise to stop the training."""


def nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True)
class SaveLocation:
    """Where an unfinished training is saved.

    Attributes:
        path: file of the state.
        before: called before each write, e.g. to flush what a resumed training needs.
    """

    path: Path
    before: Callable[[], None] = nothing


@dataclass(frozen=True)
class TrainContext:
    """What `Method.fit` and `learn` get from a run.

    Attributes:
        progress: receives steps.
        observers: receive the points of all curves.
        saved: where the unfinished training is saved, so that it resumes; None saves nothing.
    """

    progress: Progress = silent
    observers: tuple[Observer, ...] = ()
    saved: SaveLocation | None = None
