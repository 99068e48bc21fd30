"""Write files and folders atomically: complete or not at all, even after a power failure."""

import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from fdrd.errors import FdrdError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def remedy_of(error: OSError, target: str = "folder") -> str:
    """Return what to do about an error of a disk or of permissions, empty if that is unknown.

    >>> remedy_of(OSError(errno.ENOSPC, "No space left on device"), "--out")
    'free some space or choose another --out'
    """
    if error.errno in DISK_FULL:
        return f"free some space or choose another {target}"
    if error.errno in (errno.EROFS, errno.EACCES):
        return "change the permissions, or choose another folder"
    return "check the disk" if error.errno == errno.EIO else ""


@contextmanager
def name_in_errors(path: Path) -> Iterator[None]:
    """Name a file in an error of the disk that names none, as that of a failed write does."""
    try:
        yield
    except OSError as error:
        if error.errno in (*DISK_FULL, errno.EIO) and not error.filename:
            error.filename = str(path)
        raise


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Raise an error of the disk in the block as an `FdrdError` with the remedy; `path` is named if it names none."""
    try:
        yield
    except OSError as error:
        remedy = remedy_of(error, "`out`") or ("check the disk" if error.filename else "")
        if not remedy:
            raise
        raise FdrdError(
            f"{error.filename or path}: {error.strerror}; {remedy}, then run the command again"
        ) from error


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that is renamed to `path` when the block ends, and removed if the block raises.

    The bytes and then the name are synced to disk before this returns. A kill can leave a hidden partial
    file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Processes of several machines may write the same file, and process ids repeat.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with name_in_errors(path):
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
            sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):  # e.g. a disk that is now read-only: the first error counts
            partial.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8; a lone surrogate, e.g. from a file name, is written as its JSON escape."""
    with atomic_write(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


@contextmanager
def sole_writer(folder: Path) -> Iterator[Path]:
    """Lock a folder, by a hidden file next to it, or raise `FdrdError`; yield its path with links resolved."""
    from filelock import FileLock, Timeout

    real = Path(os.path.realpath(folder))  # one lock for all names of a folder
    real.parent.mkdir(parents=True, exist_ok=True)
    file = real.with_name(f".{real.name}.lock")
    lock = FileLock(file, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise FdrdError(
            f"another process is writing {folder}; wait for it, or choose another folder"
        ) from None
    try:
        yield real
    finally:
        with suppress(OSError):  # Windows removes no open file
            file.unlink()  # before the release, so that a later writer locks a new file
        lock.release()


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Create a folder that is renamed to `path` when the block ends, and removed if the block raises.

    A kill can leave a hidden partial folder, which the next call removes. Raise `FdrdError` if `path` is a file or a
    folder with contents, or another process is writing it.
    """
    check_empty(path)  # before the lock, which creates the parent folders
    with sole_writer(path) as real:
        check_empty(path)
        _remove_partials(real)
        partial = real.with_name(f".{real.name}.{secrets.token_hex(4)}.partial")
        partial.mkdir()
        try:
            with name_in_errors(path):
                yield partial
            if real.is_dir():
                real.rmdir()
            partial.rename(real)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def check_empty(path: Path) -> None:
    """Raise `FdrdError` unless a folder to write is new or empty."""
    if path.exists() and not path.is_dir():
        raise FdrdError(f"{path} is a file; give a new or empty folder")
    if path.is_dir() and any(path.iterdir()):
        raise FdrdError(f"{path} contains files already; give a new or empty folder")


def _remove_partials(folder: Path) -> None:
    """Remove what killed writers of a folder left; the caller has its lock."""
    left = re.compile(re.escape(f".{folder.name}") + r"\.[0-9a-f]{8}\.partial")
    for path in folder.parent.iterdir():
        if left.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to disk, where folders can be opened (not on Windows)."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
