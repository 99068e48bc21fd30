"""Where the last build on this machine went, so that a benchmark needs no --data."""

from __future__ import annotations

import os
from pathlib import Path

from fdrd.errors import FdrdError
from fdrd.files.atomic import write_text


def cache_folder() -> Path:
    """The folder for what can be made again: $FDRD_CACHE, else ~/.cache/fdrd."""
    return Path(os.environ.get("FDRD_CACHE") or Path.home() / ".cache" / "fdrd")


def remember_build(folder: Path) -> None:
    """Notes the folder of a dataset that was just built."""
    write_text(cache_folder() / "last_build.txt", f"{folder.resolve()}\n")


def last_build() -> Path:
    """The folder of the last build that is still there.

    Raises:
        FdrdError: nothing was built on this machine, or it is gone.
    """
    note = cache_folder() / "last_build.txt"
    if not note.is_file():
        raise FdrdError("no dataset was built on this machine; run `fdrd build`, or give --data")
    folder = Path(note.read_text(encoding="utf-8").strip())
    if not (folder / "manifest.json").is_file():
        raise FdrdError(f"the last build, {folder}, is gone; build again, or give --data")
    return folder
