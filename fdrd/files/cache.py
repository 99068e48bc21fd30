"""The cache folder, and the last build of each working folder: the default of --data."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from fdrd.errors import FdrdError
from fdrd.files.atomic import write_text


def cache_folder() -> Path:
    """Return $FDRD_CACHE or ~/.cache/fdrd, the folder for files that can be created again."""
    return Path(os.environ.get("FDRD_CACHE") or Path.home() / ".cache" / "fdrd")


def is_of_cache(place: str | Path) -> bool:
    """Return whether a path is inside the cache folder, or is to be a folder around it and is none."""
    path, cache = Path(place), cache_folder()
    return path.is_relative_to(cache) or (cache.is_relative_to(path) and not path.is_dir())


def remember_build(folder: Path) -> str:
    """Remember that a dataset was just built from the working folder; return why that failed, or nothing."""
    try:
        write_text(_note(), f"{folder.resolve()}\n")
    except OSError as error:
        return f"{error.filename or cache_folder()}: {error.strerror or error}"
    return ""


def last_build() -> Path:
    """Return the folder of the last build from the working folder, whatever was built elsewhere.

    Raises:
        FdrdError: nothing was built from the working folder, or the dataset is gone.
    """
    if not _note().is_file():
        raise FdrdError(
            f"no dataset was built in {Path.cwd()}; run `fdrd build SOURCE`, or name a dataset"
        )
    folder = Path(_note().read_text(encoding="utf-8").strip())
    if not (folder / "manifest.json").is_file():
        raise FdrdError(f"the last build, {folder}, is gone; build again, or name a dataset")
    return folder


def _note() -> Path:
    """Return the file about the working folder."""
    digest = hashlib.sha256(os.fsencode(Path.cwd())).hexdigest()
    return cache_folder() / "last_build" / f"{digest[:32]}.txt"
