"""Download a file, resume it after a cut connection, check its digest, and unpack it.

An archive of a stranger neither leaves its folder nor fills the disk: tar members pass the `data` filter of `tarfile`,
members of zip archives are checked by name and kind.
"""

import hashlib
import shutil
import stat
import tarfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from fdrd.errors import FdrdError, first_line
from fdrd.files.atomic import DISK_FULL, name_in_errors
from fdrd.progress import Progress, silent
from fdrd.sources.reading.names import is_outside
from fdrd.sources.reading.source_folder import MAX_RATIO

ATTEMPTS = 6
SPARE_BYTES = 100_000_000  # beyond twice the size in the table, which is rounded
_LONGEST_PAUSE = 20.0  # seconds
_OTHERWISE = "give `mirror` or `local`"


def download(url: str, name: str, digest: str, folder: Path, progress: Progress, mb: float) -> Path:
    """Return the file `name` in the folder; download it unless it is there with this digest.

    A cut connection is resumed, now or by the next call. Processes that share the folder take turns. The digest is
    "md5:...", "sha256:..." or "git:..." (an object id of Git), or empty to check none. `progress` is called with the
    number of bytes. The file has about `mb` MB; a download ends when it is far larger. Raise `FdrdError` if the
    download failed, or the file is far larger or has another digest, and `OSError` if the disk cannot be written.
    """
    import httpx2

    most = int(2e6 * mb) + SPARE_BYTES
    path, part, stage = folder / name, folder / f".{name}.part", f"download {folder.name}/{name}"
    with _only_download(folder, stage, progress):
        if path.is_file() and _has_digest(path, digest):
            progress(f"{stage} | was here already", 1, 1)
            return path
        try:
            with name_in_errors(part):
                _complete(url, part, most, stage, progress)
        except httpx2.HTTPStatusError as error:
            why = f"the server answers {error.response.status_code}; it may have moved"
            raise FdrdError(f"{url}: download failed, {why}: {_OTHERWISE}") from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            remedy = f"check the network and run the command again to resume, or {_OTHERWISE}"
            raise FdrdError(f"{url}: download failed ({first_line(error)}); {remedy}") from error
        is_large = part.stat().st_size > most
        if is_large or not _has_digest(part, digest):
            part.unlink()
            flaw = f"has over {most:,} bytes" if is_large else f"does not have the digest {digest}"
            remedy = f"run the command again, or {_OTHERWISE}"
            raise FdrdError(f"{url}: the file {flaw}, so it was deleted; {remedy}")
        part.replace(path)
    return path


def check_digest(path: Path, digest: str, contents: str = "") -> None:
    """Raise `FdrdError` if the file does not have the digest, as of `download`; an empty one checks nothing.

    `contents` is the name of the folder that may replace the file.
    """
    if not _has_digest(path, digest):
        other = f", or unpack it into a folder {contents} beside it and remove it"
        remedy = f"replace it by the original file{other if contents else ''}"
        raise FdrdError(f"{path} does not have the digest {digest}; {remedy}")


def _has_digest(path: Path, digest: str) -> bool:
    algorithm, _, expected = digest.partition(":")
    if not digest:
        return True
    begin = hashlib.new("sha1" if algorithm == "git" else algorithm)
    if algorithm == "git":
        begin.update(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: begin).hexdigest() == expected


@contextmanager
def _only_download(folder: Path, stage: str, progress: Progress) -> Iterator[None]:
    """Wait until no other process downloads into the folder."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress(f"{stage} | another process is downloading", 0, 2)
        lock.acquire()
        progress(stage, 1, 1)
    try:
        yield
    finally:
        lock.release()


def _complete(url: str, part: Path, most: int, stage: str, progress: Progress) -> None:
    """Append the rest of the file to `part`, in several attempts if connections end early."""
    import httpx2

    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _append(url, part, most, stage, progress)
        except httpx2.TransportError:
            if attempt == ATTEMPTS:
                raise
            time.sleep(min(0.1 * 2**attempt, _LONGEST_PAUSE))


def _append(url: str, part: Path, most: int, stage: str, progress: Progress) -> None:
    """Append to `part` until the file ends, or has more than `most` bytes."""
    import httpx2

    start = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with httpx2.stream("GET", url, headers=headers, follow_redirects=True, timeout=60) as answer:
        if answer.status_code == 416:  # nothing is left to send
            return
        if answer.status_code >= 500:
            raise httpx2.ReadError(f"the server answered {answer.status_code}")
        answer.raise_for_status()
        start = start if answer.status_code == 206 else 0
        total = start + int(answer.headers.get("Content-Length") or 0)
        with part.open("ab" if start else "wb") as file:
            for block in answer.iter_raw():
                file.write(block)
                progress(stage, min(file.tell(), total - 1), total)
                if file.tell() > most:
                    return
    progress(stage, total, total)


MAX_MEMBERS = 2_000_000
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

    `progress` is called with the number of members. An error leaves nothing outside of `folder`. Raise `FdrdError` if a
    member would leave the folder or is no file or folder, or the archive unpacks to far more than its size, and
    `OSError` if the disk is full.
    """
    limit = max(_FREE_BYTES, archive.stat().st_size * MAX_RATIO)
    unpack_members = _zip if archive.name.endswith(".zip") else _tar
    total, stage = 0, f"unpack {archive.name}"
    try:
        for count, size in enumerate(unpack_members(archive, folder, only, strip)):
            total += size
            if total > limit or count >= MAX_MEMBERS:
                most = f"{limit:,} bytes or {MAX_MEMBERS:,} members"
                raise FdrdError(f"{archive} unpacks to over {most}; refused")
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
    if is_outside(name):
        raise FdrdError(f"{archive}: refused, {name!r} would leave the folder")
    parts = PurePosixPath(name).parts[strip:]
    return "/".join(parts) if fnmatch(name, only) else ""
