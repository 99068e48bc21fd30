"""What a build may read, and its claim on a target: the lock, and the remedy where the file system refuses."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fdrd.errors import FdrdError
from fdrd.sources import Domain, find_domains
from fdrd.storage.publish import work_folder

_NO_ROOM, _NO_RIGHT = "make room or choose another --out", "allow it, or choose another folder"
_REMEDIES = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EFBIG: _NO_ROOM,
    errno.EROFS: _NO_RIGHT,
    errno.EACCES: _NO_RIGHT,
}


@contextmanager
def claim(out: Path) -> Iterator[Path]:
    """The target, claimed until the block ends, with a work folder beside it; a link is followed first.

    Raises:
        FdrdError: another build has it, the disk is full, or a folder may not be read or written.
    """
    from filelock import FileLock, Timeout

    if out.is_symlink() or not out.name:  # its work folder lies beside the true one
        out = out.resolve()
    try:
        work_folder(out).mkdir(parents=True, exist_ok=True)
        with FileLock(work_folder(out) / "lock", timeout=0):
            yield out
    except Timeout:
        raise FdrdError(
            f"another build is writing to {out}; wait for it, or choose another --out"
        ) from None
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0)
        if remedy is None:
            raise
        raise FdrdError(
            f"{error.filename or out}: {error.strerror}; {remedy}, then run the command again: it "
            "goes on from what is done"
        ) from error


def usable_source(source: Path, out: Path) -> list[Domain]:
    """The domains of a source that a build may read.

    Raises:
        FdrdError: there are none, or the target lies inside of it.
    """
    domains = find_domains(source)
    if out.resolve().is_relative_to(source.resolve()):
        raise FdrdError(f"{out} lies inside the source {source}; choose an --out outside of it")
    return domains
