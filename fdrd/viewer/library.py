"""An open dataset: its index, and the same again once the dataset has changed while it is open."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from fdrd.errors import FdrdError
from fdrd.progress import Progress, silent
from fdrd.viewer.index import Index, files_now, open_index

_EVERY = 0.5
"""Seconds between two looks at the files."""


class Library:
    """Gives the current index. A changed dataset is indexed in the background; until then, the old index is used."""

    def __init__(self, folder: Path, progress: Progress = silent):
        self.folder = folder
        self.notice = ""
        """What a reader should know about the dataset now."""
        self._lock = threading.Lock()
        self._looked = time.monotonic()
        self._index = open_index(folder, progress)
        self._seen = self._index.files
        """The files when they were indexed last, or when that failed."""
        self._building: threading.Thread | None = None

    def current(self) -> Index:
        """Return the index of the dataset as it is, or as it was while a new index is being built."""
        with self._lock:
            if time.monotonic() - self._looked > _EVERY:
                self._looked = time.monotonic()
                files = files_now(self.folder, self._index.manifest)
                if not files[0]:
                    self.notice = "The dataset is not there now. This is its last state."
                elif files != self._seen and self._building is None:
                    self.notice = "The dataset has changed. Reading it again; reload in a moment."
                    self._building = threading.Thread(
                        target=self._reopen, args=[files], daemon=True
                    )
                    self._building.start()
                elif self._building is None and files == self._index.files:
                    self.notice = ""
            return self._index

    def _reopen(self, files: list[list[int]]) -> None:
        try:
            index, notice = open_index(self.folder), ""
            files = index.files
        except (FdrdError, OSError) as error:
            index, notice = self._index, f"The dataset has changed and cannot be read: {error}"
        with self._lock:
            self._index, self._seen, self._building, self.notice = index, files, None, notice
