"""Lock the output folder of a build, and open its source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fdrd.errors import FdrdError
from fdrd.files.atomic import remedy_of
from fdrd.sources import Domain, SourceOptions, find_domains
from fdrd.sources.single_file import as_folder
from fdrd.storage.publish import work_folder


@contextmanager
def lock_output(out: Path) -> Iterator[Path]:
    """Lock a target until the block ends; yield its path with links resolved, and create its work folder.

    Raises:
        FdrdError: another build has the lock, the disk is full, or a folder has the wrong permissions.
    """
    from filelock import FileLock, Timeout

    if out.is_symlink() or not out.name:  # the work folder belongs next to the real folder
        out = resolved(out)
    try:
        with disk_errors(out):
            work_folder(out).mkdir(parents=True, exist_ok=True)
            with FileLock(work_folder(out) / "lock", timeout=0):
                yield out
    except Timeout:
        raise FdrdError(
            f"another build is writing to {out}; wait for it, or choose another `out`"
        ) from None


def resolved(path: Path) -> Path:
    """Return a path with its links resolved; raise `FdrdError` for a link that leads to itself."""
    with suppress(RuntimeError):  # from a loop, before Python 3.13
        found = path.resolve()
        if not any(part.is_symlink() for part in (found, *found.parents)):
            return found
    loop = next(part for part in (*reversed(path.parents), path) if part.is_symlink())
    raise FdrdError(f"{loop} is a link that leads to itself; remove it or choose another folder")


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
def open_source(
    source: Path, options: SourceOptions | None = None
) -> Iterator[tuple[Path, list[Domain]]]:
    """Yield the folder and the domains of a source, which is a folder or a file that `as_folder` takes.

    Raises:
        FdrdError: there are no domains.
    """
    with disk_errors(source), as_folder(source) as folder:
        yield folder, find_domains(folder, options or SourceOptions())


def check_outside(out: Path, source: Path) -> None:
    """Raise `FdrdError` if the target is inside the source."""
    if resolved(out).is_relative_to(resolved(source)):
        raise FdrdError(f"{out} is inside the source {source}; choose an `out` outside of it")
