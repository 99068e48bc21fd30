"""The output folder of a build: its lock, its work folder, and the replacement of an old build by a finished one.

A build is written into a work folder next to the dataset, and renamed when it is complete: a reader sees the old
build, the new one, or none, never a mixture.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fdrd.errors import FdrdError
from fdrd.files.atomic import disk_errors, sync_folder
from fdrd.text.markup import is_unicode

OWNED = frozenset({"README.md", "croissant.json", "data", "manifest.json", "rejected.jsonl"})


def work_folder(out: Path) -> Path:
    """Return the folder next to a dataset for its ledger, its log, and a build in progress."""
    return out.with_name(f"{out.name}.work")


def stage_folder(out: Path) -> Path:
    """Return the folder for the files of a build until it is complete."""
    return work_folder(out) / "stage"


def ledger_path(out: Path) -> Path:
    """Return the file with the image checks of earlier builds (`fdrd.pipeline.collect`)."""
    return work_folder(out) / "examined.jsonl"


@contextmanager
def lock_output(out: Path) -> Iterator[Path]:
    """Lock a target until the block ends; yield its path with links resolved, and create its work folder."""
    from filelock import FileLock, Timeout

    if out.is_symlink() or not out.name:  # the work folder belongs next to the real folder
        out = _resolved(out)
    if not is_unicode(str(out)):  # Arrow opens files by names in UTF-8
        raise FdrdError(f"the name of {str(out)!a} is not UTF-8; choose another `out`")
    try:
        with disk_errors(out):
            work_folder(out).mkdir(parents=True, exist_ok=True)
            with FileLock(work_folder(out) / "lock", timeout=0):
                yield out
    except Timeout:
        raise FdrdError(
            f"another build is writing to {out}; wait for it, or choose another `out`"
        ) from None


def check_outside(out: Path, source: Path) -> None:
    """Raise `FdrdError` if the target is inside the source."""
    if _resolved(out).is_relative_to(_resolved(source)):
        raise FdrdError(f"{out} is inside the source {source}; choose an `out` outside of it")


def _resolved(path: Path) -> Path:
    """Return a path with its links resolved; raise `FdrdError` for a link that leads to itself."""
    with suppress(RuntimeError):  # from a loop, before Python 3.13
        found = path.resolve()
        if not any(part.is_symlink() for part in (found, *found.parents)):
            return found
    loop = next(part for part in (*reversed(path.parents), path) if part.is_symlink())
    raise FdrdError(f"{loop} is a link that leads to itself; remove it or choose another folder")


def recover(out: Path) -> None:
    """Finish a replacement of folders that a kill interrupted."""
    old = _old_folder(out)
    if not old.exists():
        return
    if not out.exists():
        stage = stage_folder(out)
        (stage if (stage / "manifest.json").is_file() else old).rename(out)
    if old.exists():
        _remove_old(old, out)


def check_target(out: Path) -> None:
    """Raise `FdrdError` if the target contains something other than a dataset of fdrd."""
    if out.exists() and not out.is_dir():
        raise FdrdError(f"{out} is a file; `out` takes a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / "manifest.json").is_file():
        raise FdrdError(f"{out} contains files but no manifest.json; choose an empty or new `out`")


def publish_stage(out: Path) -> None:
    """Rename the staged build to `out`. Files in `out` that fdrd does not own are kept."""
    stage, old = stage_folder(out), _old_folder(out)
    for folder in (path for path in stage.rglob("*") if path.is_dir()):
        sync_folder(folder)  # shards linked from an earlier build have new names there
    sync_folder(stage)
    if out.exists():
        out.rename(old)
    stage.rename(out)
    sync_folder(out.parent)
    if old.exists():
        _remove_old(old, out)


def link_or_copy(file: Path, target: Path) -> None:
    """Hard-link a file, or copy it if the file system has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, target)


def remove_others(stage: Path, wanted: set[str]) -> None:
    """Remove staged files that are not wanted, and folders that become empty."""
    for path in sorted(stage.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(stage).as_posix() not in wanted:
            path.unlink()


def _old_folder(out: Path) -> Path:
    return work_folder(out) / "old"


def _remove_old(old: Path, new: Path) -> None:
    """Remove the old build after moving files that fdrd does not own to the new one."""
    for path in old.iterdir():
        if path.name not in OWNED and not (new / path.name).exists():
            path.rename(new / path.name)
    shutil.rmtree(old)
