"""Files of a source folder, and names that must stay inside it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from fdrd.files.safe_open import open_inside
from fdrd.reasons import Rejection
from fdrd.record import Split

MAX_CAPTION = 20_000  # characters, for the sake of time; a filter of the build has a lower limit
MAX_FILE = 2**30  # bytes of a file that is read as a whole
MAX_NAME = 1000  # characters of a category, a group, a licence

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


def open_annotations(root: Path, path: str) -> IO[bytes] | Rejection:
    """An annotation file below the root, opened, or the rejection of it."""
    try:
        return open_inside(root, path)
    except OSError as error:
        outside = isinstance(error, PermissionError) and error.errno is None
        detail = str(error) if outside else f"{error.strerror}: {path}"
        return Rejection(path, "", "path_outside" if outside else "read_error", detail)


def read_annotations(root: Path, path: str) -> bytes | Rejection:
    """The bytes of an annotation file that is read as a whole, or the rejection of it."""
    file = open_annotations(root, path)
    if isinstance(file, Rejection):
        return file
    with file:
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        detail = f"over {MAX_FILE} bytes; divide it, or give JSON lines"
        return Rejection(path, "", "unreadable_annotations", detail)
    return data


def start_of(root: Path, path: str, size: int = 2**16) -> bytes:
    """The first bytes of a file below the root, none where it cannot be read: enough to recognise a layout."""
    file = open_annotations(root, path)
    if isinstance(file, Rejection):
        return b""
    with file:
        return file.read(size)


def clip_group(path: str) -> str:
    """The video that a frame is of, as UCF101 names it, so that no split tears it apart; empty for others.

    >>> clip_group("Archery/v_Archery_g08_c01.jpg"), clip_group("wren/1.jpg")
    ('v_Archery_g08', '')
    """
    found = re.fullmatch(r"(v_\w+_g\d+)_c\d+", PurePosixPath(path).stem)
    return found[1] if found else ""


def split_in_name(name: str) -> Split:
    """The split that a file's name speaks of, the last one where it names several.

    >>> split_in_name("inter_caltech-101_train"), split_in_name("test-00000-of-00002"), split_in_name("captions")
    ('train', 'test', '')
    """
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLIT_OF_WORD[word] for word in reversed(words) if word in SPLIT_OF_WORD), "")


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
