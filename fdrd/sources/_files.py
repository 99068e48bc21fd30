"""Files of a source folder, and names that must stay inside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from fdrd.record import Split

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})

SPLIT_OF_WORD: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
}


def files_below(root: Path) -> Iterator[str]:
    """Paths of all files below the root, POSIX, sorted within each folder; hidden ones left out.

    Links to folders are not followed; where a link to a file leads is looked at before it is read.
    """
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith("."))
        inside = Path(folder).relative_to(root)
        for name in sorted(files):
            if not name.startswith("."):
                yield (inside / name).as_posix()


def is_image(path: str) -> bool:
    """Whether the name ends like an image.

    >>> is_image("a/b.JPG"), is_image("a/b.txt")
    (True, False)
    """
    return os.path.splitext(path)[1].lower() in EXTENSIONS  # noqa: PTH122 - called once per file


def is_absolute(path: str) -> bool:
    """Whether the path names a place of a whole machine, of any system.

    >>> is_absolute("/root/x.jpg"), is_absolute("C:/x.jpg"), is_absolute("x.jpg")
    (True, True, False)
    """
    return PurePosixPath(path).is_absolute() or bool(PureWindowsPath(path).drive)


def leaves_root(path: str) -> bool:
    r"""Whether a relative path climbs out of its folder, or could.

    >>> leaves_root("../x.jpg"), leaves_root("a/../b.jpg"), leaves_root("a\\..\\b.jpg"), leaves_root("a/b")
    (True, True, True, False)
    """
    return ".." in path.replace("\\", "/").split("/") or "\0" in path
