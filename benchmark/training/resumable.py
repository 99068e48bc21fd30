"""State of a training, so that it can resume, and Ctrl-C that waits until it is written.

`resumable` opens the file of the state, and `benchmark.training.loop.Training` writes to it; the method in between
hands it on. The file is safetensors with JSON in its header and is replaced atomically. It belongs to one identity, so
that a training with other settings ignores it.
"""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from benchmark.models import processes
from benchmark.registry import SaveLocation
from fdrd.files.atomic import atomic_write

EVERY = 30.0
"""Seconds of training that an interruption may lose."""

SHARE = 0.05
"""Maximum share of the time spent on writing; very large models are therefore saved less often."""

log = logging.getLogger(__name__)


@contextmanager
def resumable(
    path: Path | None, before: Callable[[], None] = lambda: None
) -> Iterator[SaveLocation | None]:
    """Give the location of a training inside the block, and delete its file when the block succeeds.

    Args:
        path: file of the state; None saves nothing.
        before: called before each write.
    """
    yield None if path is None else SaveLocation(path, before)
    if path is not None and processes.is_main():
        path.unlink(missing_ok=True)


class ResumableState:
    """Saved state of one training.

    Args:
        identity: digest of everything that determines the numbers of the training.
        location: where it is saved; None saves nothing.
    """

    def __init__(self, identity: str, location: SaveLocation | None):
        self._identity = identity
        self._location = location
        self._written = time.monotonic()
        self._cost = 0.0

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the saved tensors and JSON data if they belong to this training."""
        if self._location is None or not self._location.path.is_file():
            return None
        try:
            with safetensors.safe_open(self._location.path, "pt") as file:
                metadata = json.loads(file.metadata()["training"])
                if metadata.pop("identity") != self._identity:
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                return tensors, metadata
        except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
            log.warning("%s is not readable (%s); training starts over", self._location.path, error)
            return None

    def is_due(self, after: float) -> bool:
        """Return whether `after` seconds have passed since the last write and another is not too costly."""
        gone = time.monotonic() - self._written
        return self._location is not None and gone >= max(after, self._cost / SHARE)

    def write(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
        """Write the current state: tensors of learner, optimizer and best state by name, and the rest as JSON data."""
        if self._location is None or not processes.is_main():
            return
        started = time.monotonic()
        self._location.before()
        copied = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        stated = json.dumps({**metadata, "identity": self._identity})
        with atomic_write(self._location.path) as file:
            file.write(safetensors.torch.save(copied, {"training": stated}))
        self._written = time.monotonic()
        self._cost = self._written - started

    def discard(self) -> None:
        """Delete the state of a training that cannot continue."""
        if self._location is not None and processes.is_main():
            self._location.path.unlink(missing_ok=True)


@contextmanager
def delay_interrupt() -> Iterator[list[bool]]:
    """Let the block finish before Ctrl-C takes effect, and record it in the list; a second Ctrl-C is immediate."""
    usual = signal.getsignal(signal.SIGINT)
    interrupted: list[bool] = []

    def record(*_signal: object) -> None:
        interrupted.append(True)
        signal.signal(signal.SIGINT, usual)

    # Only the main thread receives Ctrl-C, and a handler that somebody else installed stays.
    ours = usual is signal.default_int_handler
    if not ours or threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    signal.signal(signal.SIGINT, record)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, usual)
