"""What `fdrd bench` says about its runs: the plan at the start, and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fdrd.commands.console import err
from fdrd.progress import FINISHED

if TYPE_CHECKING:
    from fdrd.progress import Progress


def planned_runs(methods: Sequence[str], seeds: int) -> list[str]:
    """Return the method of each run. One without randomness runs once.

    Raises:
        FdrdError: there is no such method.
    """
    from benchmark.registry import takes

    return [name for name in methods for _ in range(seeds if takes(name, "seed") else 1)]


def print_plan(data: str, split: str, runs: Sequence[str], backbone: str, device: str) -> None:
    """Print what will be measured, before anything is loaded."""
    plan = f"{len(runs)} runs" if len(runs) > 1 else "1 run"
    methods = ", ".join(dict.fromkeys(runs))
    line = f"{data}, {split}: {plan} of {methods}; {backbone} on {device}"
    err.print(line, soft_wrap=not err.is_terminal)


def with_time_left(progress: Progress, runs: int) -> Progress:
    """Return a progress that adds to the line of a finished run how long the others may take."""
    started, finished = time.monotonic(), 0

    def report(stage: str, done: int, total: int) -> None:
        nonlocal finished
        if stage.partition(" | ")[0].endswith(f": {FINISHED}"):
            finished += 1
            spent = time.monotonic() - started
            if finished < runs and spent >= 1:
                left = duration(spent / finished * (runs - finished))
                stage += f" ({finished} of {runs}, about {left} left)"
        progress(stage, done, total)

    return report


def duration(seconds: float) -> str:
    """Return a duration as text.

    >>> duration(4.2), duration(200), duration(9000)
    ('4 s', '3 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
