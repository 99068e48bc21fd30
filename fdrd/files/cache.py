"""The cache folder."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return $FDRD_CACHE or ~/.cache/fdrd, the folder for files that can be created again."""
    return Path(os.environ.get("FDRD_CACHE") or Path.home() / ".cache" / "fdrd")


def is_of_cache(name: str | Path) -> bool:
    """Return whether a path is inside the cache folder, or is to be a folder around it and is none."""
    path, cache = Path(name), cache_folder()
    return path.is_relative_to(cache) or (cache.is_relative_to(path) and not path.is_dir())
