"""A dataset that `datasets` wrote with `save_to_disk`: Arrow files, one folder per split.

The columns are those of `table`. A dataset without splits has none here either; they are hashed later.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from fdrd.reasons import Rejection
from fdrd.record import Record
from fdrd.sources.layouts.table import read_tables
from fdrd.sources.reading.source_folder import SourceFolder
from fdrd.sources.reading.tables import table_flaw


def detect(folder: SourceFolder) -> str | None:
    files = _files(folder)
    for names in ({"dataset_dict.json"}, {"state.json", "dataset_info.json"}):
        if files and names <= set(folder.top):
            return f"`save_to_disk` writes {max(names)} and {files[0]}"
    return None


def near_miss(folder: SourceFolder) -> str | None:
    files = _files(folder)
    return table_flaw(folder, files[0], "image") if files else None


def used_files(folder: SourceFolder) -> list[str]:
    names = ("dataset_dict.json", "state.json", "dataset_info.json")
    return [*_files(folder), *(path for path in folder.files if path.endswith(names))]


def read(folder: SourceFolder, require_images: bool = True) -> Iterator[Record | Rejection]:
    splits = {file: PurePosixPath(file).parent.name for file in _files(folder)}
    return read_tables(folder, splits, require_images)


def _files(folder: SourceFolder) -> list[str]:
    return [
        path
        for path in folder.files
        if path.endswith(".arrow")
        and path.count("/") <= 1
        and (PurePosixPath(path).parent / "state.json").as_posix() in folder
    ]
