"""The cache folder, and the location of the last build on this machine: the default of --data."""

from __future__ import annotations

import os
from pathlib import Path

from fdrd.errors import FdrdError
from fdrd.files.atomic import write_text


def cache_folder() -> Path:
    """Return $FDRD_CACHE or ~/.cache/fdrd, the folder for files that can be created again."""
    return Path(os.environ.get("FDRD_CACHE") or Path.home() / ".cache" / "fdrd")


def remember_build(folder: Path) -> None:
    """Remember the folder of a dataset that was just built."""
    write_text(cache_folder() / "last_build.txt", f"{folder.resolve()}\n")


def last_build() -> Path:
    """Return the folder of the last build.

    Raises:
        FdrdError: nothing was built on this machine, or the folder is gone.
    """
    note = cache_folder() / "last_build.txt"
    if not note.is_file():
        raise FdrdError("no dataset was built on this machine; run `fdrd build`, or give --data")
    folder = Path(note.read_text(encoding="utf-8").strip())
    if not (folder / "manifest.json").is_file():
        raise FdrdError(f"the last build, {folder}, is gone; build again, or give --data")
    return folder
