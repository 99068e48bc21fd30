"""Download a file with `pooch`, which checks digests, through a downloader that resumes."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fdrd.errors import FdrdError, first_line
from fdrd.progress import Progress

ATTEMPTS = 6


def download(url: str, name: str, digest: str, folder: Path, progress: Progress) -> Path:
    """Return the file in the folder; download it unless it is there with this digest.

    A cut connection is resumed, now or by the next call. Processes that share the folder take turns.

    Args:
        url: of the file.
        name: of the file in the folder.
        digest: "md5:..." or "sha256:...", or empty to check none.
        folder: created if missing.
        progress: called with the number of bytes.

    Raises:
        FdrdError: the download failed, or the file has another digest.
    """
    import httpx2
    import pooch

    pooch.get_logger().setLevel(logging.ERROR)
    try:
        with _only_download(folder, f"download {name}", progress):
            downloader = _Resuming(folder / f".{name}.part", progress)
            path = pooch.retrieve(url, digest or None, name, folder, downloader=downloader)
    except httpx2.HTTPError as error:
        raise FdrdError(
            f"{url}: download failed ({first_line(error)}); run the command again to resume, or give --mirror or --from"
        ) from error
    except ValueError as error:  # raised by pooch, which has removed the file
        raise FdrdError(
            f"{url}: the file does not have the digest {digest}, so it was deleted; try again, or "
            "give --mirror or --from"
        ) from error
    return Path(path)


def check_digest(path: Path, digest: str) -> None:
    """Raise `FdrdError` if the file has another digest; an empty digest checks nothing."""
    import pooch

    algorithm, _, wanted = digest.partition(":")
    if digest and pooch.file_hash(str(path), algorithm) != wanted:
        raise FdrdError(
            f"{path} does not have the digest {digest}; replace it by the original file"
        )


@contextmanager
def _only_download(folder: Path, stage: str, progress: Progress) -> Iterator[None]:
    """Wait until no other process downloads into the folder; remove what `pooch` left there in killed ones."""
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
        for path in folder.glob("tmp????????"):
            if path.is_file() and not path.stat().st_size:
                path.unlink()
        yield
    finally:
        lock.release()


@dataclass(frozen=True)
class _Resuming:
    """A downloader for `pooch` that keeps what it has in `part` and asks for the rest."""

    part: Path
    progress: Progress

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        import httpx2
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

        retry = Retrying(
            retry=retry_if_exception_type(httpx2.TransportError),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential(0.2, max=20),
            reraise=True,
        )
        retry(self._append, url)
        shutil.move(self.part, output_file)

    def _append(self, url: str) -> None:
        import httpx2

        start = self.part.stat().st_size if self.part.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        with httpx2.stream(
            "GET", url, headers=headers, follow_redirects=True, timeout=60
        ) as answer:
            if answer.status_code == 416:  # nothing is left to send
                return
            if answer.status_code >= 500:
                raise httpx2.ReadError(f"the server answered {answer.status_code}")
            answer.raise_for_status()
            start = start if answer.status_code == 206 else 0
            total = start + int(answer.headers.get("Content-Length") or 0)
            stage = f"download {self.part.name[1:-5]}"
            with self.part.open("ab" if start else "wb") as file:
                for block in answer.iter_raw():
                    file.write(block)
                    self.progress(stage, min(file.tell(), total - 1), total)
        self.progress(stage, total, total)
