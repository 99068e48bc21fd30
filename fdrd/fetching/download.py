"""Download a file, resume it after a cut connection, and check its digest."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fdrd.errors import FdrdError, first_line
from fdrd.files.atomic import name_in_errors
from fdrd.progress import Progress

ATTEMPTS = 6
SPARE_BYTES = 100_000_000  # beyond twice the size in the table, which is rounded
_LONGEST_PAUSE = 20.0  # seconds


def download(url: str, name: str, digest: str, folder: Path, progress: Progress, mb: float) -> Path:
    """Return the file in the folder; download it unless it is there with this digest.

    A cut connection is resumed, now or by the next call. Processes that share the folder take turns.

    Args:
        url: address of the file.
        name: name of the file in the folder.
        digest: "md5:...", "sha256:..." or "git:..." (an object id of Git), or empty to check none.
        folder: folder of the downloads, created if missing.
        progress: called with the number of bytes.
        mb: approximate size of the file in MB. A download ends when it is far larger.

    Raises:
        FdrdError: the download failed, or the file is far larger or has another digest.
        OSError: the disk is full or cannot be written.
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
            raise FdrdError(
                f"{url}: download failed, the server answers {error.response.status_code}; it may have moved: "
                "give --mirror or --from"
            ) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise FdrdError(
                f"{url}: download failed ({first_line(error)}); check the network and run the command again to "
                "resume, or give --mirror or --from"
            ) from error
        is_large = part.stat().st_size > most
        if is_large or not _has_digest(part, digest):
            part.unlink()
            flaw = f"has over {most:,} bytes" if is_large else f"does not have the digest {digest}"
            raise FdrdError(
                f"{url}: the file {flaw}, so it was deleted; run the command again, or give --mirror or --from"
            )
        part.replace(path)
    return path


def check_digest(path: Path, digest: str, contents: str = "") -> None:
    """Raise `FdrdError` if the file has another digest; an empty digest checks nothing.

    Args:
        path: the file.
        digest: as of `download`.
        contents: name of the folder that may replace the file.
    """
    if not _has_digest(path, digest):
        other = (
            f", or unpack it into a folder {contents} beside it and remove it" if contents else ""
        )
        raise FdrdError(
            f"{path} does not have the digest {digest}; replace it by the original file{other}"
        )


def _has_digest(path: Path, digest: str) -> bool:
    algorithm, _, expected = digest.partition(":")
    if not digest:
        return True

    def hashed() -> hashlib._Hash:
        if algorithm != "git":
            return hashlib.new(algorithm)
        return hashlib.sha1(f"blob {path.stat().st_size}\0".encode())

    with path.open("rb") as file:
        return hashlib.file_digest(file, hashed).hexdigest() == expected


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
