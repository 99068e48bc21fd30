"""Runs a pure function over tasks in this process or in several, with results in the order of the tasks."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def available_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_tasks(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int
) -> Iterator[Result]:
    """Results of `function` for each task, in order; at most four tasks per worker are under way.

    `function` must be importable by name, as worker processes are spawned. Stopping early (an exception,
    Ctrl-C, a closed iterator) drops the tasks that have not begun.
    """
    if workers <= 1:
        yield from map(function, tasks)
        return
    context = multiprocessing.get_context(
        "spawn"
    )  # a fork would copy threads of pyarrow and tokenizers
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_ignore_interrupt) as pool:
        todo = iter(tasks)
        running: deque[Future[Result]] = deque(
            pool.submit(function, task) for task in islice(todo, 4 * workers)
        )
        try:
            while running:
                yield running.popleft().result()
                running.extend(pool.submit(function, task) for task in islice(todo, 1))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _ignore_interrupt() -> None:
    """Leaves Ctrl-C to the parent, which stops the pool in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
