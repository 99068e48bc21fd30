"""A dataset of `datasets`, as `save_to_disk` writes it: Arrow files, one folder for each split.

The columns are those of `table`. A dataset without splits has none here either: they are hashed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from fdrd.reasons import Rejection
from fdrd.record import Record
from fdrd.sources.layouts.table import pairs_of
from fdrd.sources.reading.annotation_files import split_in_name
from fdrd.sources.reading.columns import find_columns


def detect(root: Path) -> str | None:
    """Why the folder was written by `save_to_disk`, or None."""
    if (root / "dataset_dict.json").is_file() and _files(root):
        return f"dataset_dict.json and {_files(root)[0]} are what `save_to_disk` writes"
    if (root / "state.json").is_file() and (root / "dataset_info.json").is_file() and _files(root):
        return f"state.json and {_files(root)[0]} are what `save_to_disk` writes"
    return None


def near(root: Path) -> str | None:
    """What is such a dataset and yet has no images."""
    from fdrd.sources.reading.rows import columns_of

    files = _files(root)
    columns = columns_of(root, files[0]) if files else []
    if columns and "image" not in find_columns(columns):
        return f"{files[0]} has no column called image; its columns are {', '.join(columns)[:200]}"
    return None


def read(root: Path, pictures: bool = True) -> Iterator[Record | Rejection]:
    """The pairs of every split, row by row."""
    from fdrd.sources.reading.rows import read_rows

    times: Counter[str] = Counter()
    for file in _files(root):
        split = split_in_name(PurePosixPath(file).parent.name)
        for line in read_rows(root, file):
            yield from pairs_of(line, set() if pictures else None, split, times)


def _files(root: Path) -> list[str]:
    folders = ["", *sorted(path.name for path in root.iterdir() if path.is_dir())]
    return [
        path.relative_to(root).as_posix()
        for folder in folders
        if not (root / folder).is_symlink() and (root / folder / "state.json").is_file()
        for path in sorted((root / folder).glob("*.arrow"))
    ]
