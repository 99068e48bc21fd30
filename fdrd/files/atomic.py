"""Files and folders that are there whole or not at all, also after a power cut."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fdrd.errors import FdrdError


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the name `path` when the block ends, and vanishes when the block raises.

    Its bytes reach the disk before it gets the name, and the name before the block is left. A kill can
    leave a hidden file of another name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Writes a text as UTF-8; half a character of a hostile name becomes the escape that JSON has for it."""
    with replacing(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder that takes the name `path` when the block ends, and vanishes when the block raises.

    A kill can leave a hidden folder of another name, which the next call removes.

    Raises:
        FdrdError: `path` is a file, or a folder that holds something.
    """
    if path.exists() and not path.is_dir():
        raise FdrdError(f"{path} is a file; give a new or empty folder")
    if path.is_dir() and any(path.iterdir()):
        raise FdrdError(f"{path} holds files already; give a new or empty folder")
    partial = path.absolute().with_name(f".{path.absolute().name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if path.is_dir():
            path.rmdir()
        partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder survive a power cut, where folders can be opened (not on Windows)."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sha256_of(path: Path) -> str:
    """The digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
