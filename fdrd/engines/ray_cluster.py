"""A Ray cluster: the one at `RAY_ADDRESS`, or a local one that ends with the build.

All machines of the cluster must see the source and the output folder under the same paths. The machine that runs the
build must not die; tasks of any other one that dies are repeated on the rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from typing import Any, Self

from fdrd.engines import Result, Task, available_cores, in_order
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
        self._call: Any = None

    def __enter__(self) -> Self:
        """Connect to the cluster, or start one."""
        options: dict[str, Any] = {"address": os.environ.get("RAY_ADDRESS")}
        if not options["address"]:
            cores = self._workers or available_cores()
            options = {"address": "local", "num_cpus": cores, "include_dashboard": False}
        variables = {name: os.environ[name] for name in _PASSED_ON & os.environ.keys()}
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
        self._call = self._ray.remote(max_retries=2)(_call)
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect; a cluster that was started here ends."""
        self._ray.shutdown()

    def run(
        self, function: Callable[..., Result], tasks: Iterable[Task], *common: Any
    ) -> Generator[Result, None, None]:
        """Yield results as `Engine.run` describes."""
        shared = list(map(self._ray.put, common))  # stored once per machine
        yield from in_order(lambda task: self._submit(function, task, *shared), tasks, self.workers)

    def submit(self, function: Callable[[Task], Result], task: Task) -> Callable[[], Result]:
        """Start a task, as `Engine.submit` describes."""
        return self._submit(function, task)

    def _submit(self, function: Callable[..., Result], *arguments: Any) -> Callable[[], Result]:
        reference = self._call.remote(function, *arguments)
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
