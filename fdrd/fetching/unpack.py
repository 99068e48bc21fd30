"""Unpack archives of strangers: nothing leaves the folder, and no archive fills the disk.

Tar members pass the `data` filter of `tarfile`. Members of zip archives are checked by name and kind.
"""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from fdrd.errors import FdrdError
from fdrd.files.atomic import DISK_FULL
from fdrd.progress import Progress, silent
from fdrd.sources.reading.names import is_absolute, leaves_root

MAX_MEMBERS = 2_000_000
MAX_RATIO = 50
"""Unpacked bytes per byte of the archive. Images barely compress; text compresses tenfold."""
_FREE_BYTES = 2**26  # small archives may unpack to this


def is_archive(name: str) -> bool:
    """Return whether the file is unpacked rather than copied.

    >>> is_archive("a.tar.gz"), is_archive("a.json")
    (True, False)
    """
    return name.endswith((".tar.gz", ".tgz", ".tar", ".zip"))


def unpack(
    archive: Path, folder: Path, only: str = "*", strip: int = 0, progress: Progress = silent
) -> None:
    """Unpack the members that match a pattern, without their first `strip` folders.

    `progress` is called with the number of members.

    Raises:
        FdrdError: a member would leave the folder, is no file or folder, or the archive unpacks to far more
            than its size. Nothing outside of `folder` was written, but some members may be in it.
        OSError: the disk is full.
    """
    limit = max(_FREE_BYTES, archive.stat().st_size * MAX_RATIO)
    unpack_members = _zip if archive.name.endswith(".zip") else _tar
    total, stage = 0, f"unpack {archive.name}"
    try:
        for count, size in enumerate(unpack_members(archive, folder, only, strip)):
            total += size
            if total > limit or count >= MAX_MEMBERS:
                raise FdrdError(
                    f"{archive} unpacks to over {limit:,} bytes or {MAX_MEMBERS:,} members; refused"
                )
            progress(stage, count, count + 1)
    except tarfile.FilterError as error:
        raise FdrdError(f"{archive}: refused, {error}") from error
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise
        raise FdrdError(f"{archive} cannot be unpacked: {error}") from error
    progress(stage, 1, 1)


def _tar(archive: Path, folder: Path, only: str, strip: int) -> Iterator[int]:
    """Yield the size of each member before it is unpacked."""
    with tarfile.open(archive) as opened:
        for member in opened:
            name = _checked(archive, member.name, only, strip)
            yield member.size
            if member.isdir() or not name:
                continue
            if not member.isreg():
                raise FdrdError(f"{archive}: refused, {member.name} is a link or a device")
            opened.extract(member.replace(name=name), folder, filter="data")
            opened.members = []  # type: ignore[attr-defined]  # tarfile keeps every header


def _zip(archive: Path, folder: Path, only: str, strip: int) -> Iterator[int]:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            name = _checked(archive, member.filename, only, strip)
            yield member.file_size
            if member.is_dir() or not name:
                continue
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
                raise FdrdError(f"{archive}: refused, {member.filename} is a link or a device")
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(member) as source, path.open("wb") as target:
                shutil.copyfileobj(source, target)


def _checked(archive: Path, name: str, only: str, strip: int) -> str:
    """Return the path of a member below the folder, empty if it is not asked for."""
    if is_absolute(name) or leaves_root(name):
        raise FdrdError(f"{archive}: refused, {name!r} would leave the folder")
    parts = PurePosixPath(name).parts[strip:]
    return "/".join(parts) if fnmatch(name, only) else ""
