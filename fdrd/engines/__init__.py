"""Engines: run a function over many tasks in this process, in several, or on a Ray cluster.

Results come in task order, so no byte of a dataset depends on the engine. Ground floor: imports the shared types only.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from fdrd.errors import FdrdError

ENGINES = ("local", "ray")
Task = TypeVar("Task")
Result = TypeVar("Result")

TASKS_AHEAD = 4
"""Number of tasks in flight per worker: enough to keep it busy, few enough to bound memory."""


class Engine(Protocol):
    """Runs tasks. Use it as a context manager: its processes end with the block.

    Tasks that have not started when the block ends are canceled. Functions must be importable by name. Paths in tasks
    are absolute, because a worker may have another working folder.
    """

    workers: int

    def run(
        self, function: Callable[..., Result], tasks: Iterable[Task], *common: Any
    ) -> Generator[Result, None, None]:
        """Yield `function(task, *common)` for each task, in task order.

        `common` is sent to each worker once. Only `TASKS_AHEAD` tasks per worker are in flight at a time.
        """

    def submit(self, function: Callable[[Task], Result], task: Task) -> Callable[[], Result]:
        """Start a task, and return a function that waits for its result. The caller bounds the tasks in flight."""

    def prepare(self, function: Callable[..., Any]) -> None:
        """Start the workers and let them import what `function` needs, while this process does other work."""


def in_order(
    submit: Callable[[Task], Callable[[], Result]], tasks: Iterable[Task], workers: int
) -> Generator[Result, None, None]:
    """Yield the results of tasks in their order, with `TASKS_AHEAD` tasks per worker in flight."""
    running: deque[Callable[[], Result]] = deque()
    for task in tasks:
        running.append(submit(task))
        if len(running) >= TASKS_AHEAD * workers:
            yield running.popleft()()
    while running:
        yield running.popleft()()


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_engine(name: str, workers: int | None = None) -> AbstractContextManager[Engine]:
    """Return the engine called `name`, with one worker per core by default.

    Raises:
        FdrdError: no engine has this name, or a package that it needs is not installed.
    """
    if name == "local":
        from fdrd.engines.local import LocalEngine

        return LocalEngine(workers or available_cores())
    if name == "ray":
        from fdrd.engines.ray_cluster import RayEngine

        return RayEngine(workers)
    raise FdrdError(f"unknown engine {name!r}; choose from {', '.join(ENGINES)}")
