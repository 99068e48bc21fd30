"""When the next request may go out: a pause between two, and the time that a server asked to be left alone."""

from __future__ import annotations

import threading
import time


class Pace:
    """One pace for all threads that ask.

    Args:
        pause: seconds between two requests at least.
    """

    def __init__(self, pause: float = 0.0) -> None:
        self._pause = pause
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self, stop: threading.Event) -> bool:
        """Waits for the turn of the caller. Whether it came, and the run was not stopped meanwhile."""
        while not stop.is_set():
            with self._lock:
                delay = self._next - time.monotonic()
                if delay <= 0:
                    self._next = time.monotonic() + self._pause
                    return True
            stop.wait(delay)
        return False

    def hold(self, seconds: float) -> None:
        """Nobody's turn comes before so many seconds are over."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)
