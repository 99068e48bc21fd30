"""Lock the output folder of a build, and open its source."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fdrd.errors import FdrdError
from fdrd.sources import Domain, SourceOptions, find_domains
from fdrd.sources.single_file import as_folder
from fdrd.storage.publish import work_folder

_NO_SPACE = "free some space or choose another --out"
_NO_PERMISSION = "change the permissions, or choose another folder"
_REMEDIES = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EFBIG: _NO_SPACE,
    errno.EROFS: _NO_PERMISSION,
    errno.EACCES: _NO_PERMISSION,
    errno.EIO: "check the disk",
}


@contextmanager
def lock_output(out: Path) -> Iterator[Path]:
    """Lock a target until the block ends; yield its path with links resolved, and create its work folder.

    Raises:
        FdrdError: another build has the lock, the disk is full, or a folder has the wrong permissions.
    """
    from filelock import FileLock, Timeout

    if out.is_symlink() or not out.name:  # the work folder belongs next to the real folder
        out = out.resolve()
    try:
        with _disk_errors(out):
            work_folder(out).mkdir(parents=True, exist_ok=True)
            with FileLock(work_folder(out) / "lock", timeout=0):
                yield out
    except Timeout:
        raise FdrdError(
            f"another build is writing to {out}; wait for it, or choose another --out"
        ) from None


@contextmanager
def _disk_errors(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "check the disk" if error.filename else None)
        if remedy is None:
            raise
        raise FdrdError(
            f"{error.filename or place}: {error.strerror}; {remedy}, then run the command again to resume"
        ) from error


@contextmanager
def open_source(
    source: Path, options: SourceOptions | None = None
) -> Iterator[tuple[Path, list[Domain]]]:
    """Yield the folder and the domains of a source, which is a folder or a file that `as_folder` takes.

    Raises:
        FdrdError: there are no domains.
    """
    with _disk_errors(source), as_folder(source) as folder:
        yield folder, find_domains(folder, options or SourceOptions())


def check_outside(out: Path, source: Path) -> None:
    """Raise `FdrdError` if the target is inside the source."""
    if out.resolve().is_relative_to(source.resolve()):
        raise FdrdError(f"{out} is inside the source {source}; choose an --out outside of it")
