"""A source that is one file: an archive, or a Parquet table with images."""

import bz2
import gzip
import lzma
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from fdrd.errors import FdrdError
from fdrd.files.paths import cache_folder
from fdrd.kinds import SOURCES, refuse_other
from fdrd.sources.reading.source_folder import MAX_RATIO, expands_too_far

_OPENERS: dict[str, Callable[[Path], Any]] = {
    **dict.fromkeys((".tar.gz", ".tgz"), gzip.GzipFile),
    ".tar.bz2": bz2.BZ2File,
    ".tar.xz": lzma.LZMAFile,
}
_AS_IT_IS = (".zip", ".tar", ".parquet")


@contextmanager
def as_folder(source: Path) -> Iterator[Path]:
    """Yield a source as a folder: itself, or a temporary one that holds the file and has its name.

    The file is linked, or copied if it is on another disk than the cache. A compressed tar archive is decompressed,
    because images are read at their offset. Raise `FdrdError` if the file is of another kind, damaged, or expands to
    more than 50 times its size.
    """
    if not source.is_file():
        yield source
        return
    kind = next((end for end in (*_OPENERS, *_AS_IT_IS) if source.name.lower().endswith(end)), "")
    if not kind:
        refuse_other(source, "a raw source", *SOURCES)
        remedy = "give the folder that holds it and its images, or one of"
        raise FdrdError(f"{source} is a file; {remedy} {', '.join((*_AS_IT_IS, *_OPENERS))}")
    name = source.name[: -len(kind)].strip(".") or "source"
    with _temporary_folder() as temporary:
        folder = temporary / name
        folder.mkdir()
        file = folder / f"{name}{kind if kind in _AS_IT_IS else '.tar'}"
        try:
            if kind in _AS_IT_IS:
                _link(source, file)
            else:
                _decompress(source, _OPENERS[kind], file)
            yield folder
        except FdrdError as error:  # the user knows the file, not the folder
            message = str(error).replace(str(file), str(source)).replace(str(folder), str(source))
            raise type(error)(message) from error


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Yield a folder of the cache that is removed at the end, and remove those of killed processes."""
    from filelock import FileLock, Timeout

    kept = cache_folder() / "sources"
    kept.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        # No other process sees a folder of ours before it has its lock.
        with FileLock(kept.with_name("sources.lock")):
            for left in kept.iterdir():
                with suppress(Timeout, OSError), FileLock(left / "lock", timeout=0):
                    shutil.rmtree(left, ignore_errors=True)
            temporary = tempfile.TemporaryDirectory(dir=kept, ignore_cleanup_errors=True)
            folder = Path(stack.enter_context(temporary))
            stack.enter_context(FileLock(folder / "lock"))
        yield folder


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source.resolve())
    except OSError:  # another disk, or one without links
        try:
            shutil.copy2(source, target)
        except OSError as error:
            raise _unwritable(source, error) from error


def _decompress(source: Path, opener: Callable[[Path], Any], target: Path) -> None:
    try:
        left = MAX_RATIO * source.stat().st_size
        with opener(source) as opened, target.open("wb") as out:
            while block := opened.read(2**20):
                left -= len(block)
                if left < 0:
                    raise expands_too_far(source)
                out.write(block)
        shutil.copystat(source, target)  # its time of change says whether a build is up to date
    except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno:  # e.g. the disk is full
            raise _unwritable(source, error) from error
        raise FdrdError(f"{source} cannot be decompressed: {error}; download it again") from error


def _unwritable(source: Path, error: OSError) -> FdrdError:
    remedy = f"it must be readable, and the cache {cache_folder()} needs space for it"
    return FdrdError(f"{source}: {error.strerror}; {remedy} (FDRD_CACHE names another folder)")
