"""A dataset that `datasets` wrote with `save_to_disk`: Arrow files, one folder per split.

The columns are those of `table`. A dataset without splits has none here either; they are hashed later.
"""

from pathlib import PurePosixPath

from fdrd.sources.layouts.table import read_tables
from fdrd.sources.reading.pairs import Pairs
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


def read(folder: SourceFolder, require_images: bool = True) -> Pairs:
    splits = {file: PurePosixPath(file).parent.name for file in _files(folder)}
    return read_tables(folder, splits, require_images)


def _files(folder: SourceFolder) -> list[str]:
    files = folder.upper_files(".arrow")
    return [f for f in files if (PurePosixPath(f).parent / "state.json").as_posix() in folder]
