"""A Ray cluster: the one at `RAY_ADDRESS`, or a local one that ends with the build.

All machines of the cluster must see the source and the output folder under the same paths. The machine that runs the
build must not die; tasks of any other one that dies are repeated on the rest.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from itertools import islice
from typing import Any, Self

from fdrd.engines.protocol import TASKS_AHEAD, Result, Task, available_cores
from fdrd.errors import FdrdError

_PASSED_ON = frozenset({"PYTHONPATH", "FDRD_CACHE"})
"""Variables that workers need: where this code is, and the cache, which holds a source that is one file."""


class RayEngine:
    """Runs tasks on the processors of a Ray cluster.

    Raises:
        FdrdError: Ray is not installed, or the cluster cannot be reached.
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

    def __enter__(self) -> Self:
        """Connect to the cluster, or start one."""
        address = os.environ.get("RAY_ADDRESS")
        options: dict[str, Any] = {"address": address} if address else {
            "address": "local", "num_cpus": self._workers or available_cores(), "include_dashboard": False,
        }  # fmt: skip
        try:
            self._ray.init(
                **options,
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env={
                    "env_vars": {name: os.environ[name] for name in _PASSED_ON & os.environ.keys()}
                },
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise FdrdError(f"no Ray cluster at {address or 'this machine'}: {error}") from error
        self.workers = self._workers or int(self._ray.cluster_resources().get("CPU", 1))
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect; a cluster that was started here ends."""
        self._ray.shutdown()

    def run(
        self,
        function: Callable[..., Result],
        tasks: Iterable[Task],
        *common: Any,
        ahead: int = TASKS_AHEAD,
    ) -> Generator[Result, None, None]:
        """Yield results as `Engine.run` describes."""
        ray = self._ray
        remote = ray.remote(max_retries=2)(_call)
        waiting = iter(tasks)
        shared: list[Any] = []
        running: deque[Any] = deque()

        def submit(task: Any) -> Any:
            if not shared:
                shared.extend(map(ray.put, common))  # stored once per machine
            return remote.remote(function, task, *shared)

        try:
            running.extend(map(submit, islice(waiting, ahead * self.workers)))
            while running:
                yield self._result(running.popleft())
                running.extend(map(submit, islice(waiting, 1)))
        finally:
            for reference in running:
                ray.cancel(reference)

    def submit(self, function: Callable[[Task], Result], task: Task) -> Callable[[], Result]:
        """Start a task, as `Engine.submit` describes."""
        reference = self._ray.remote(max_retries=2)(_call).remote(function, task)
        return lambda: self._result(reference)

    def _result(self, reference: Any) -> Any:
        ray = self._ray
        try:
            return ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None  # `as_instanceof_cause` would have its traceback as message
        except ray.exceptions.RayError as error:
            raise FdrdError(
                f"the Ray cluster lost a task ({type(error).__name__}); run the command again to resume"
            ) from error

    def prepare(self, function: Callable[..., Any]) -> None:
        """Do nothing: the workers of a cluster have started."""


def _call(function: Callable[..., Result], task: Any, *common: Any) -> Result:
    return function(task, *common)
