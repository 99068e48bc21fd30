"""The one door to the files of a source: nothing outside of its folder is opened, whatever a link says."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO


def resolve_inside(root: str | Path, path: str) -> Path:
    """Where a regular file below the root really lies.

    Raises:
        PermissionError: a link on the way leads out of the root.
        OSError: there is none, or it is a folder, a pipe or a device, which might never end.
    """
    real = os.path.realpath(os.path.join(root, path))  # noqa: PTH118 - called once per image
    if not real.startswith(os.path.join(os.path.realpath(root), "")):  # noqa: PTH118
        raise PermissionError(f"{path} is a link that leaves the source folder")
    if not stat.S_ISREG(os.stat(real).st_mode):  # noqa: PTH116
        raise OSError(errno.EINVAL, "not a regular file", path)
    return Path(real)


def open_inside(root: str | Path, path: str) -> IO[bytes]:
    """A file below the root, opened for reading; raises as `resolve_inside` does."""
    return resolve_inside(root, path).open("rb")
