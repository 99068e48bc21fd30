"""What a training reports to, and where it is saved. Nothing here changes a number."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.training.resumable import SaveLocation
from benchmark.training.tracking import Observer
from fdrd.progress import Progress, silent


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
