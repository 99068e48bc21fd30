"""What every engine provides. Results come in task order, so no byte of a dataset depends on the engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from typing import Any, Protocol, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

TASKS_AHEAD = 4
"""Usual number of tasks in flight per worker: enough to keep it busy, few enough to bound memory."""


class Engine(Protocol):
    """Runs tasks. Use it as a context manager: its processes end with the block."""

    workers: int

    def run(
        self,
        function: Callable[..., Result],
        tasks: Iterable[Task],
        *common: Any,
        ahead: int = TASKS_AHEAD,
    ) -> Generator[Result, None, None]:
        """Yield `function(task, *common)` for each task, in task order.

        `function` must be importable by name. Paths in tasks are absolute, because a worker may have another
        working folder. `common` is sent to each worker once. Only `ahead` tasks per worker are in flight at a time.
        Tasks may come from the results of another `run`, which shares the workers.
        Stopping early (an exception, Ctrl-C, a closed iterator) cancels tasks that have not started.
        """

    def submit(self, function: Callable[[Task], Result], task: Task) -> Callable[[], Result]:
        """Start a task, and return a function that waits for its result.

        The caller bounds the number of tasks in flight. Those that have not started when the block of the engine ends
        by an exception are canceled.
        """

    def prepare(self, function: Callable[..., Any]) -> None:
        """Start the workers and let them import what `function` needs, while this process does other work."""


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
