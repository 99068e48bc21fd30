"""Puts a finished build in the place of an old one, so that a reader finds the old, the new, or none, never a mixture.

Everything is written into a work folder beside the dataset and renamed when it is whole.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from fdrd.errors import FdrdError
from fdrd.files.atomic import sync_folder

OWNED = frozenset(
    {
        "README.md",
        "croissant.json",
        "data",
        "digests",
        "manifest.json",
        "plots",
        "rejected.jsonl",
    }
)


def work_folder(out: Path) -> Path:
    """The folder beside a dataset that holds its ledger, its log, and a build under way."""
    return out.with_name(f"{out.name}.work")


def recover(out: Path) -> None:
    """Ends an exchange of folders that a kill cut short."""
    stage, old = work_folder(out) / "stage", work_folder(out) / "old"
    if not old.exists():
        return
    if not out.exists():
        (stage if (stage / "manifest.json").is_file() else old).rename(out)
    if old.exists():
        _keep_foreign(old, out)
        shutil.rmtree(old)


def check_target(out: Path) -> None:
    """Raises `FdrdError` if the target holds something that is no dataset of fdrd."""
    if out.exists() and not out.is_dir():
        raise FdrdError(f"{out} is a file; --out takes a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / "manifest.json").is_file():
        raise FdrdError(f"{out} holds files but no manifest.json; choose an empty or new --out")


def exchange(out: Path) -> None:
    """Renames the staged build to `out`; files in `out` that fdrd does not own move along."""
    stage, old = work_folder(out) / "stage", work_folder(out) / "old"
    for folder in (path for path in stage.rglob("*") if path.is_dir()):
        sync_folder(folder)  # shards that were linked from an earlier build have new names there
    sync_folder(stage)
    if out.exists():
        out.rename(old)
    stage.rename(out)
    sync_folder(out.parent)
    if old.exists():
        _keep_foreign(old, out)
        shutil.rmtree(old)


def link_or_copy(file: Path, target: Path) -> None:
    """A second name for a file, or a copy where the file system has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, target)


def remove_others(stage: Path, wanted: set[str]) -> None:
    """Removes what an interrupted build staged and this one does not want, and folders left empty."""
    for path in sorted(stage.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(stage).as_posix() not in wanted:
            path.unlink()


def _keep_foreign(old: Path, new: Path) -> None:
    for path in old.iterdir():
        if path.name not in OWNED and not (new / path.name).exists():
            path.rename(new / path.name)
