"""What commands say about their runs: the plan, the time that is left, the results, and what failed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from fdrd.commands.console import err, out, print_hint, print_json, print_report, show_progress
from fdrd.errors import FdrdError
from fdrd.progress import FINISHED, Progress


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


def show_runs(results: Path | str) -> AbstractContextManager[Progress]:
    """Show the progress of runs; Ctrl-C says where their results are."""
    return show_progress(
        f"Finished runs and unfinished training are saved in {results}; the same command continues."
    )


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


def print_results(outcome: Any, results: Path | str, json: bool) -> None:
    """Print the results as a table and the next commands, or as JSON."""
    from benchmark.reporting.pages import table

    if json:
        print_json([result.to_dict() for result in outcome.results])
    elif outcome.results:
        print_report(table(outcome.results))
        _print_few_images(outcome.results)
        print_hint(f"\nNext:  fdrd report {results}        fdrd compare {results}")


def _print_few_images(results: Iterable[Any]) -> None:
    """Say which domains are too small to measure, once for each split."""
    from benchmark.intervals import few_images
    from benchmark.result import query_groups

    counts: dict[str, dict[str, int]] = {}
    for result in results:
        images = Counter(query_groups(result).domain_of_image.tolist())
        by_domain = counts.setdefault(result.settings.split, {})
        by_domain |= {
            domain: images[index] for index, domain in enumerate(result.metrics.by_domain)
        }
    for split, by_domain in counts.items():
        if text := few_images(split, by_domain):
            out.print(text, soft_wrap=True)


def raise_failed(outcome: Any) -> None:
    """Raise the errors of the cells or methods that failed, each on its own line."""
    if outcome.failed:
        raise FdrdError("\n".join(f"{name} failed: {e}" for name, e in outcome.failed.items()))
