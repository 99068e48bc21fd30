"""A training that is not finished, kept on disk so that the same command goes on where a kill left it.

`resumable` says where it is kept, and `benchmark.training.loop.fit` keeps it there: a method, which
stands between the two, knows nothing of it. The file is safetensors with JSON in its header, is
replaced as a whole, and belongs to one identity: a training of other settings does not find it.
"""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from benchmark.models import processes
from fdrd.files.atomic import atomic_write

EVERY = 30.0
"""Seconds of training that a kill may cost."""

SHARE = 0.05
"""Of the time, what writing may take; very large models are therefore kept more rarely."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All that a training must know to go on.

    Attributes:
        tensors: learned, of the optimiser, and so on, by name.
        said: what is no tensor, as JSON has it.
    """

    tensors: dict[str, Tensor]
    said: dict[str, Any]


@dataclass(frozen=True)
class _Place:
    path: Path
    before: Callable[[], None]


_PLACE: ContextVar[_Place | None] = ContextVar("_PLACE", default=None)


def _nothing() -> None:
    pass


@contextmanager
def resumable(path: Path | None, before: Callable[[], None] = _nothing) -> Iterator[None]:
    """A training inside is kept in `path`, goes on from there, and is forgotten when the block ends well.

    Args:
        path: None keeps nothing.
        before: called before each writing, for what must be on disk when the training goes on.
    """
    token = _PLACE.set(None if path is None else _Place(path, before))
    try:
        yield
    finally:
        _PLACE.reset(token)
    if path is not None and processes.is_main():
        path.unlink(missing_ok=True)


class Kept:
    """What is kept of one training; nothing outside of `resumable`.

    Args:
        identity: digest of all that decides its numbers, which the file's name does not say.
    """

    def __init__(self, identity: str):
        self._identity = identity
        self._place = _PLACE.get()
        self._written = time.monotonic()
        self._cost = 0.0

    def read(self) -> Snapshot | None:
        """The training as it was kept, if it was this one."""
        if self._place is None or not self._place.path.is_file():
            return None
        try:
            with safetensors.safe_open(self._place.path, "pt") as file:
                said = json.loads(file.metadata()["training"])
                if said.pop("identity") != self._identity:
                    return None
                return Snapshot({name: file.get_tensor(name) for name in file.keys()}, said)  # noqa: SIM118
        except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
            log.warning("%s is not readable (%s); training from the start", self._place.path, error)
            return None

    def is_due(self, after: float) -> bool:
        """Whether `after` seconds have gone since the last writing, and it may cost another one."""
        gone = time.monotonic() - self._written
        return self._place is not None and gone >= max(after, self._cost / SHARE)

    def write(self, snapshot: Snapshot) -> None:
        """Keep the training as it is now."""
        if self._place is None or not processes.is_main():
            return
        started = time.monotonic()
        self._place.before()
        tensors = {
            name: value.detach().cpu().contiguous() for name, value in snapshot.tensors.items()
        }
        said = json.dumps({**snapshot.said, "identity": self._identity})
        with atomic_write(self._place.path) as file:
            file.write(safetensors.torch.save(tensors, {"training": said}))
        self._written = time.monotonic()
        self._cost = self._written - started

    def discard(self) -> None:
        """Forget a training with which it is no use to go on."""
        if self._place is not None and processes.is_main():
            self._place.path.unlink(missing_ok=True)


@contextmanager
def interrupt_waits() -> Iterator[list[bool]]:
    """Ctrl-C lets the block end whole and is then in the list; a second one does not wait."""
    usual = signal.getsignal(signal.SIGINT)
    asked: list[bool] = []

    def wait(_number: int, _frame: FrameType | None) -> None:
        asked.append(True)
        signal.signal(signal.SIGINT, usual)

    # Only the main thread is interrupted, and whoever handles Ctrl-C in another way goes on doing so.
    ours = usual is signal.default_int_handler
    if not ours or threading.current_thread() is not threading.main_thread():
        yield asked
        return
    signal.signal(signal.SIGINT, wait)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, usual)
