"""Where the work of a build runs: a pure function over tasks, in this process, in several, or on a Ray cluster.

Results come in the order of the tasks, whatever the engine, so no byte of a dataset depends on it.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from fdrd.errors import FdrdError

Task = TypeVar("Task")
Result = TypeVar("Result")

ENGINES = ("local", "ray")
AHEAD = (
    4  # tasks of each worker that are under way: enough to keep it busy, few enough to bound memory
)


class Engine(Protocol):
    """What runs tasks. A context manager: its processes end with the block."""

    workers: int

    def run(
        self, function: Callable[..., Result], tasks: Iterable[Task], *common: Any
    ) -> Iterator[Result]:
        """Results of `function(task, *common)` in the order of the tasks; few are under way at a time.

        `function` must be importable by name. `common` goes to each worker once, however many tasks it gets.
        Stopping early (an exception, Ctrl-C, a closed iterator) drops the tasks that have not begun.
        """


def open_engine(name: str, workers: int | None = None) -> AbstractContextManager[Engine]:
    """The engine of a name in `ENGINES`, with as many workers as there are cores unless told otherwise.

    Raises:
        FdrdError: no engine has the name, or what it needs is not installed.
    """
    if name == "local":
        return LocalEngine(workers or available_cores())
    if name == "ray":
        from fdrd.pipeline.ray_engine import RayEngine

        return RayEngine(workers)
    raise FdrdError(f"no engine is called {name!r}; choose from {', '.join(ENGINES)}")


class LocalEngine:
    """Processes of this machine, spawned when the first task comes; with one worker, this process alone."""

    def __init__(self, workers: int):
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._shared = 0

    def __enter__(self) -> Self:
        """Starts nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the processes; waits for the tasks that have begun."""
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)
        if self._folder:
            self._folder.cleanup()

    def run(
        self, function: Callable[..., Result], tasks: Iterable[Task], *common: Any
    ) -> Iterator[Result]:
        """As `Engine.run`."""
        if self.workers <= 1:
            yield from (function(task, *common) for task in tasks)
            return
        todo = iter(tasks)
        running: deque[Future[Result]] = deque()
        known = ""
        try:
            for task in islice(todo, AHEAD * self.workers):
                known = known or self._share(common)
                running.append(self._submit(function, task, known))
            while running:
                yield running.popleft().result()
                running.extend(self._submit(function, task, known) for task in islice(todo, 1))
        except BrokenProcessPool:
            raise FdrdError(
                "a worker process was killed, as happens where memory runs out; run the command again, "
                "it goes on from what is done; --workers 1 needs the least memory"
            ) from None
        finally:
            for future in running:
                future.cancel()

    def _submit(self, function: Callable[..., Result], task: Any, known: str) -> Future[Result]:
        if not self._pool:
            context = multiprocessing.get_context(
                "spawn"
            )  # a fork would copy threads of pyarrow and tokenizers
            self._pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_begin)
        return self._pool.submit(_run, function, task, known)

    def _share(self, common: tuple[Any, ...]) -> str:
        """A file that each worker reads once: a pipe would carry it with every task."""
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="fdrd-")
        self._shared += 1
        file = Path(self._folder.name, str(self._shared))
        file.write_bytes(pickle.dumps(common))
        return str(file)


def available_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_known: tuple[str, tuple[Any, ...]] = ("", ())
"""In a worker process: what its tasks have in common, and the file that it came from."""


def _begin() -> None:
    """Prepares a worker process: Ctrl-C is left to the parent, which stops the pool in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run(function: Callable[..., Result], task: Any, known: str) -> Result:
    global _known
    if _known[0] != known:
        # Written by our own parent in a folder that is only its user's.
        _known = (known, pickle.loads(Path(known).read_bytes()))
    return function(task, *_known[1])
