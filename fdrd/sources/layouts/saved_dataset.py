"""A dataset that `datasets` wrote with `save_to_disk`: Arrow files, one folder per split.

The columns are those of `table`. A dataset without splits has none here either; they are hashed later.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from fdrd.reasons import Rejection
from fdrd.record import Record
from fdrd.sources.layouts.table import row_pairs
from fdrd.sources.reading.image_pairs import ImagePairs
from fdrd.sources.reading.names import split_in_name
from fdrd.sources.reading.source_folder import SourceFolder
from fdrd.sources.reading.tables import read_table, table_flaw


def detect(folder: SourceFolder) -> str | None:
    """Return why the folder was written by `save_to_disk`, or None."""
    files = _files(folder)
    for names in ({"dataset_dict.json"}, {"state.json", "dataset_info.json"}):
        if files and names <= set(folder.top):
            return f"`save_to_disk` writes {max(names)} and {files[0]}"
    return None


def near_miss(folder: SourceFolder) -> str | None:
    """Return why the folder is a saved dataset without images, or None."""
    files = _files(folder)
    return table_flaw(folder, files[0], "image") if files else None


def used_files(folder: SourceFolder) -> list[str]:
    """Return the Arrow files, and the JSON files next to them."""
    names = ("dataset_dict.json", "state.json", "dataset_info.json")
    return [*_files(folder), *(path for path in folder.files if path.endswith(names))]


def read(folder: SourceFolder, require_images: bool = True) -> Iterator[Record | Rejection]:
    """Yield the pairs of every split, row by row."""
    images = ImagePairs(folder, require_images)
    for file in _files(folder):
        split = split_in_name(PurePosixPath(file).parent.name)
        for line in read_table(folder, file):
            yield from row_pairs(folder, line, images, split)


def _files(folder: SourceFolder) -> list[str]:
    files = set(folder.files)
    return [
        path
        for path in folder.files
        if path.endswith(".arrow")
        and path.count("/") <= 1
        and (PurePosixPath(path).parent / "state.json").as_posix() in files
    ]
