"""Tasks on a Ray cluster: the one at `RAY_ADDRESS`, or one of this machine that ends with the build.

The source and the target must be in folders that all machines of the cluster see under the same names.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Self, TypeVar

from fdrd.errors import FdrdError
from fdrd.pipeline.engine import AHEAD, available_cores

Result = TypeVar("Result")


class RayEngine:
    """As `fdrd.pipeline.engine.LocalEngine`, with the processors of a cluster.

    Raises:
        FdrdError: Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(self, workers: int | None):
        try:
            import ray
        except ImportError:
            raise FdrdError(
                "--engine ray needs Ray: pip install 'fdrd[ray]', or use --engine local"
            ) from None
        self._ray = ray
        self._workers = workers
        self.workers = workers or 1

    def __enter__(self) -> Self:
        """Joins the cluster, or starts one."""
        address = os.environ.get("RAY_ADDRESS")
        options: dict[str, Any] = {"address": address} if address else {
            "address": "local", "num_cpus": self._workers or available_cores(), "include_dashboard": False,
        }  # fmt: skip
        try:
            # The driver's folders are where workers look for this code, whatever started the driver.
            self._ray.init(
                **options,
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env={"env_vars": {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}},
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise FdrdError(f"no Ray cluster at {address or 'this machine'}: {error}") from error
        self.workers = self._workers or int(self._ray.cluster_resources().get("CPU", 1))
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the cluster; one that was started here ends."""
        self._ray.shutdown()

    def run(
        self, function: Callable[..., Result], tasks: Iterable[Any], *common: Any
    ) -> Iterator[Result]:
        """As `fdrd.pipeline.engine.Engine.run`."""
        ray = self._ray
        remote = ray.remote(max_retries=2)(_call)
        todo = iter(tasks)
        known: list[Any] = []
        running: deque[Any] = deque()

        def submit(task: Any) -> Any:
            if not known:
                known.extend(
                    map(ray.put, common)
                )  # once per machine, read in place where it can be
            return remote.remote(function, task, *known)

        try:
            running.extend(map(submit, islice(todo, AHEAD * self.workers)))
            while running:
                yield ray.get(running.popleft())
                running.extend(map(submit, islice(todo, 1)))
        except ray.exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from None
        except ray.exceptions.RayError as error:
            raise FdrdError(
                f"the Ray cluster lost a task ({type(error).__name__}); run the command again, it goes "
                "on from what is done"
            ) from error
        finally:
            for reference in running:
                ray.cancel(reference)


def _call(function: Callable[..., Result], task: Any, *common: Any) -> Result:
    return function(task, *common)
