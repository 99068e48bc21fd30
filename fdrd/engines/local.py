"""Processes of this machine."""

from __future__ import annotations

import os
import pickle
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import lru_cache, partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakSet

from fdrd.engines import Result, Task, available_cores, in_order
from fdrd.errors import FdrdError

if TYPE_CHECKING:
    from loky import ProcessPoolExecutor


class LocalEngine:
    """A pool of processes that starts when it is first needed. One worker means this process alone.

    There are never more processes than tasks, or cores while the tasks are not known. A pool that is too small for the
    tasks of a run is replaced by a larger one, and ends when it has finished its own.

    Workers do not import the main script again (loky), so it needs no `if __name__ == "__main__"`.
    """

    def __init__(self, workers: int):
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None
        self._size = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._shared = 0
        self._submitted: WeakSet[Future[Any]] = WeakSet()

    def __enter__(self) -> Self:
        """Return the engine; no process starts yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for tasks that have started, then end the processes."""
        for future in list(self._submitted):
            future.cancel()
        if self._pool:
            self._pool.shutdown(wait=True)
        if self._folder:
            self._folder.cleanup()

    def run(
        self, function: Callable[..., Result], tasks: Iterable[Task], *common: Any
    ) -> Generator[Result, None, None]:
        """Yield results as `Engine.run` describes."""
        if self.workers <= 1:
            yield from (function(task, *common) for task in tasks)
            return
        waiting = iter(tasks)
        if first := list(islice(waiting, self.workers)):
            self._start(len(first))
            submit = partial(self._submit, _call, function, self._share(common))
            yield from in_order(submit, chain(first, waiting), self.workers)

    def submit(self, function: Callable[[Task], Result], task: Task) -> Callable[[], Result]:
        """Start a task, as `Engine.submit` describes."""
        if self.workers <= 1:
            result = function(task)
            return lambda: result
        if not self._pool:
            self._start(min(self.workers, available_cores()))
        return self._submit(function, task)

    def prepare(self, function: Callable[..., Any]) -> None:
        """Start the workers; each imports the module of `function` when it unpickles the name."""
        if self.workers <= 1:
            return
        with suppress(BrokenProcessPool):  # `run` reports it
            pool = self._start(min(self.workers, available_cores()))
            for _ in range(self._size):
                pool.submit(_receive, function)

    def _submit(self, function: Callable[..., Result], *arguments: Any) -> Callable[[], Result]:
        try:
            future: Future[Result] = self._start(1).submit(function, *arguments)
        except BrokenProcessPool:
            raise _worker_killed() from None
        self._submitted.add(future)

        def wait() -> Result:
            try:
                return future.result()
            except BrokenProcessPool:
                raise _worker_killed() from None

        return wait

    def _start(self, least: int) -> ProcessPoolExecutor:
        """Return a pool of at least so many processes."""
        if not self._pool or self._size < least:
            from loky import ProcessPoolExecutor

            if self._pool:
                self._pool.shutdown(wait=False)
            self._size = least
            self._pool = ProcessPoolExecutor(
                least, initializer=_start_worker, initargs=(os.getpid(),)
            )
        return self._pool

    def _share(self, common: tuple[Any, ...]) -> str:
        """Write `common` to a file that each worker reads once; a pipe would carry it with every task."""
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="fdrd-")
        self._shared += 1
        file = Path(self._folder.name, str(self._shared))
        file.write_bytes(pickle.dumps(common))
        return str(file)


def _worker_killed() -> FdrdError:
    return FdrdError(
        "a worker process was killed, probably because memory ran out; run the command again to "
        "resume; `workers` 1 needs the least memory"
    )


def _start_worker(parent: int) -> None:
    """Leave Ctrl-C to the parent process, which stops the pool, and end when the parent was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=[parent], daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _receive(_: object) -> None:
    """Do nothing: receiving the argument is what counts."""


def _call(function: Callable[..., Result], shared: str, task: Any) -> Result:
    return function(task, *_load(shared))


@lru_cache(maxsize=2)  # of a `run`, and of another that uses its results
def _load(shared: str) -> tuple[Any, ...]:
    """Read common arguments, which our own parent process wrote to a folder private to this user."""
    common: tuple[Any, ...] = pickle.loads(Path(shared).read_bytes())
    return common
