"""Engines: run a function over many tasks in this process, in several, or on a Ray cluster.

Ground floor: imports the shared types only. Others use what `__all__` lists.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from fdrd.engines.local import LocalEngine
from fdrd.engines.protocol import TASKS_AHEAD, Engine, available_cores
from fdrd.errors import FdrdError

ENGINES = ("local", "ray")

__all__ = ["ENGINES", "TASKS_AHEAD", "Engine", "LocalEngine", "available_cores", "open_engine"]


def open_engine(name: str, workers: int | None = None) -> AbstractContextManager[Engine]:
    """Return the engine called `name`, with one worker per core by default.

    Raises:
        FdrdError: no engine has this name, or a package that it needs is not installed.
    """
    if name == "local":
        return LocalEngine(workers or available_cores())
    if name == "ray":
        from fdrd.engines.ray_cluster import RayEngine

        return RayEngine(workers)
    raise FdrdError(f"unknown engine {name!r}; choose from {', '.join(ENGINES)}")
