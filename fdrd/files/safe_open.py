"""Open files of a source: no path or link can lead outside its folder."""

from __future__ import annotations

import errno
import os
import stat
from functools import lru_cache
from pathlib import Path
from typing import IO


def resolve_inside(root: str | Path, path: str) -> Path:
    """Return the real path of a regular file below the root; raise as `real_path_inside` does."""
    return Path(real_path_inside(root, path))


def real_path_inside(root: str | Path, path: str) -> str:
    """Return the real path of a regular file below the root as text, which is faster to make than a `Path`.

    Raises:
        PermissionError: a link leads out of the root.
        OSError: there is no such file, or it is a folder, a pipe or a device.
    """
    top = os.fspath(root)
    if not os.path.isabs(top):  # noqa: PTH117 - called once per image
        top = os.path.join(Path.cwd(), top)  # noqa: PTH118
    folder, _, name = f"{top}/{path}".rpartition("/")
    real = f"{_real_folder(folder)}{os.sep}{name}"
    if name in ("", ".", "..") or os.path.islink(real):  # noqa: PTH114
        real = os.path.realpath(real)
    if not real.startswith(_real_folder(top).rstrip(os.sep) + os.sep):
        raise PermissionError(f"{path} is a link that leaves the source folder")
    if not stat.S_ISREG(os.stat(real).st_mode):  # noqa: PTH116
        raise OSError(errno.EINVAL, "not a regular file", path)
    return real


def open_inside(root: str | Path, path: str) -> IO[bytes]:
    """Open a file below the root for reading; raise as `resolve_inside` does."""
    return resolve_inside(root, path).open("rb")


@lru_cache(maxsize=4096)
def _real_folder(folder: str) -> str:
    """Resolve a folder once for all of its files, because each path component costs a system call."""
    return os.path.realpath(folder)
