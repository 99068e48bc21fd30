"""Runs a pure function over tasks in this process or in several, with results in the order of the tasks."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

_known: tuple[Any, ...] = ()
"""In a worker process: what its tasks have in common."""


def available_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_tasks(
    function: Callable[..., Result], tasks: Iterable[Task], workers: int, *common: Any
) -> Iterator[Result]:
    """Results of `function(task, *common)` in the order of the tasks; at most four per worker are under way.

    `function` must be importable by name, as worker processes are spawned. `common` goes to each process
    once, however many tasks it gets. Stopping early (an exception, Ctrl-C, a closed iterator) drops the
    tasks that have not begun.
    """
    if workers <= 1:
        yield from (function(task, *common) for task in tasks)
        return
    context = multiprocessing.get_context(
        "spawn"
    )  # a fork would copy threads of pyarrow and tokenizers
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_begin, initargs=(pickle.dumps(common),)
    ) as pool:
        todo = iter(tasks)
        running: deque[Future[Result]] = deque(
            pool.submit(_run, function, task) for task in islice(todo, 4 * workers)
        )
        try:
            while running:
                yield running.popleft().result()
                running.extend(pool.submit(_run, function, task) for task in islice(todo, 1))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _begin(common: bytes) -> None:
    """Prepares a worker process: Ctrl-C is left to the parent, which stops the pool in order."""
    global _known
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Written by our own parent, and read only here: a second of reading must not hear Ctrl-C.
    _known = pickle.loads(common)


def _run(function: Callable[..., Result], task: Any) -> Result:
    return function(task, *_known)
