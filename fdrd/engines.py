"""Engines: run a function over many tasks in this process, in several, or on a Ray cluster.

An engine is a context manager: its processes end with the block, and tasks that have not started are canceled. Results
come in task order, so no byte of a dataset depends on the engine. Functions must be importable by name. Paths in tasks
are absolute, because a worker may have another working folder. Ground floor: imports the shared types only.
"""

from __future__ import annotations

import os
import pickle
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import lru_cache, partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar
from weakref import WeakSet

from fdrd.errors import FdrdError

if TYPE_CHECKING:
    from loky import ProcessPoolExecutor


ENGINES = ("local", "ray")
Task = TypeVar("Task")
Result = TypeVar("Result")

TASKS_AHEAD = 4
"""Number of tasks in flight per worker by default: enough to keep it busy, few enough to bound memory."""


def _in_order(
    submit: Callable[[Task], Callable[[], Result]], tasks: Iterable[Task], limit: int
) -> Generator[Result, None, None]:
    """Yield the results of tasks in their order, with at most `limit` tasks in flight."""
    running: deque[Callable[[], Result]] = deque()
    for task in tasks:
        running.append(submit(task))
        if len(running) >= limit:
            yield running.popleft()()
    while running:
        yield running.popleft()()


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalEngine:
    """A pool of processes that starts when it is first needed. One worker means this process alone.

    There are never more processes than tasks, or cores when `prepare` starts them. Before a run that needs more
    processes, the pool finishes its tasks and is replaced by a larger one, for which the caller waits.

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
        return self  # no process starts yet

    def __exit__(self, *_: object) -> None:
        """Wait for tasks that have started, then end the processes."""
        for future in list(self._submitted):
            future.cancel()
        if self._pool:
            self._pool.shutdown(wait=True)
        if self._folder:
            self._folder.cleanup()

    def run(
        self,
        function: Callable[..., Result],
        tasks: Iterable[Task],
        *common: Any,
        ahead: int = TASKS_AHEAD,
    ) -> Generator[Result, None, None]:
        """Yield `function(task, *common)` for each task, in task order.

        `common` is sent to each worker once. Only `ahead` tasks per worker are in flight at a time.
        """
        if self.workers <= 1:
            yield from (function(task, *common) for task in tasks)
            return
        waiting = iter(tasks)
        # The first tasks tell how many processes to start, unless all have started.
        if first := list(islice(waiting, self.workers if self._size < self.workers else 1)):
            self._start(len(first))
            submit = partial(self._submit, function, self._share(common))
            yield from _in_order(submit, chain(first, waiting), ahead * self.workers)

    def prepare(self, function: Callable[..., Any]) -> None:
        """Start the workers and let them import what `function` needs, while this process does other work."""
        if self.workers <= 1:
            return
        with suppress(BrokenProcessPool):  # `run` reports it
            pool = self._start(min(self.workers, available_cores()))
            for _ in range(self._size):
                pool.submit(callable, function)  # imports its module when it unpickles the name

    def _submit(
        self, function: Callable[..., Result], shared: str, task: Any
    ) -> Callable[[], Result]:
        with _killed_worker_is_error():
            future: Future[Result] = self._start(1).submit(_call, function, shared, task)
        self._submitted.add(future)

        def wait() -> Result:
            with _killed_worker_is_error():
                return future.result()

        return wait

    def _start(self, least: int) -> ProcessPoolExecutor:
        if not self._pool or self._size < least:
            from loky import ProcessPoolExecutor

            if self._pool:
                self._pool.shutdown(wait=True)
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


@contextmanager
def _killed_worker_is_error() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool:
        raise FdrdError(
            "a worker process was killed, probably because memory ran out; run the command again to "
            "resume; `workers` 1 needs the least memory"
        ) from None


def _start_worker(parent: int) -> None:
    """Leave Ctrl-C to the parent process, which stops the pool, and end when the parent was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _call(function: Callable[..., Result], shared: str, task: Any) -> Result:
    return function(task, *_load(shared))


@lru_cache(maxsize=2)  # of a `run`, and of another that uses its results
def _load(shared: str) -> tuple[Any, ...]:
    """Read common arguments, which our own parent process wrote to a folder private to this user."""
    return tuple(pickle.loads(Path(shared).read_bytes()))


class RayEngine:
    """Runs tasks on the processors of a Ray cluster: the one at `RAY_ADDRESS`, or a local one that ends with the build.

    All machines of the cluster must see the source and the output folder under the same paths. The machine that runs
    the build must not die; tasks of any other one that dies are repeated on the rest. Raise `FdrdError` if Ray is not
    installed, or the cluster cannot be reached.
    """

    def __init__(self, workers: int | None):
        try:
            import ray
        except ImportError:
            raise FdrdError(
                "`engine` ray needs Ray: pip install 'fdrd[ray]', or use `engine` local"
            ) from None
        self._ray = ray
        self._workers = workers
        self.workers = workers or 1
        self._call: Any = None

    def __enter__(self) -> Self:
        options: dict[str, Any] = {"address": os.environ.get("RAY_ADDRESS")}
        if not options["address"]:
            cores = self._workers or available_cores()
            options = {"address": "local", "num_cpus": cores, "include_dashboard": False}
        # Workers need this code, and the cache, which holds a source that is one file.
        passed_on = {"PYTHONPATH", "FDRD_CACHE"} & os.environ.keys()
        variables = {name: os.environ[name] for name in passed_on}
        try:
            self._ray.init(
                **options,
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env={"env_vars": variables},
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            cluster = os.environ.get("RAY_ADDRESS") or "this machine"
            raise FdrdError(f"no Ray cluster at {cluster}: {error}") from error
        self.workers = self._workers or int(self._ray.cluster_resources().get("CPU", 1))
        self._call = self._ray.remote(max_retries=2)(_call_directly)
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def run(
        self,
        function: Callable[..., Result],
        tasks: Iterable[Task],
        *common: Any,
        ahead: int = TASKS_AHEAD,
    ) -> Generator[Result, None, None]:
        """Yield results as `LocalEngine.run`."""
        shared = list(map(self._ray.put, common))  # stored once per machine
        submit = partial(self._submit, function, shared)
        yield from _in_order(submit, tasks, ahead * self.workers)

    def _submit(
        self, function: Callable[..., Result], shared: list[Any], task: Any
    ) -> Callable[[], Result]:
        reference, ray = self._call.remote(function, task, *shared), self._ray

        def wait() -> Result:
            try:
                result: Result = ray.get(reference)
                return result
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None  # `as_instanceof_cause` would have its traceback as message
            except ray.exceptions.RayError as error:
                raise FdrdError(
                    f"the Ray cluster lost a task ({type(error).__name__}); run the command again to resume"
                ) from error

        return wait

    def prepare(self, function: Callable[..., Any]) -> None:
        """Do nothing: the workers of a cluster have started."""


def _call_directly(function: Callable[..., Result], task: Any, *common: Any) -> Result:
    return function(task, *common)


Engine = LocalEngine | RayEngine


def open_engine(name: str, workers: int | None = None) -> AbstractContextManager[Engine]:
    """Return the engine called `name`, by default with one worker per core; raise `FdrdError` if there is none."""
    if name == "local":
        return LocalEngine(workers or available_cores())
    if name == "ray":
        return RayEngine(workers)
    raise FdrdError(f"unknown engine {name!r}; choose from {', '.join(ENGINES)}")
