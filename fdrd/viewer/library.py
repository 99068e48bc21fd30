"""An open dataset: its index, and the same again once the dataset was rebuilt while it is open."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from fdrd.errors import FdrdError
from fdrd.progress import Progress, silent
from fdrd.viewer.index import Index, open_index

_EVERY = 0.5
"""Seconds between two looks at the manifest."""


class Library:
    """Gives the current index. A rebuilt dataset is indexed in the background; until then, the old index is used."""

    def __init__(self, folder: Path, progress: Progress = silent):
        self.folder = folder
        self.notice = ""
        """What a reader should know about the dataset now."""
        self._lock = threading.Lock()
        self._stamp = self._manifest_stamp()
        self._looked = time.monotonic()
        self._index = open_index(folder, progress)
        self._building: threading.Thread | None = None

    def current(self) -> Index:
        """Return the index of the dataset as it is, or as it was while a new index is being built."""
        with self._lock:
            if time.monotonic() - self._looked > _EVERY:
                self._looked = time.monotonic()
                stamp = self._manifest_stamp()
                if stamp is None:
                    self.notice = "The dataset is not there now. This is its last state."
                elif stamp != self._stamp and self._building is None:
                    self.notice = "The dataset was rebuilt. Reading it again; reload in a moment."
                    self._building = threading.Thread(
                        target=self._reopen, args=[stamp], daemon=True
                    )
                    self._building.start()
                elif self._building is None:
                    self.notice = ""
            return self._index

    def _reopen(self, stamp: tuple[int, ...]) -> None:
        try:
            index, notice = open_index(self.folder), ""
        except (FdrdError, OSError) as error:
            index, notice = self._index, f"The dataset was rebuilt and cannot be read: {error}"
        with self._lock:
            self._index, self._stamp, self._building, self.notice = index, stamp, None, notice

    def _manifest_stamp(self) -> tuple[int, ...] | None:
        try:
            status = (self.folder / "manifest.json").stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
