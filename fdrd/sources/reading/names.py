"""What the names of files and folders say: image, split, group, and whether a path stays inside its root."""

import os
import re
from pathlib import PurePosixPath, PureWindowsPath

from fdrd.record import Split

MAX_CAPTION = 20_000
"""Characters of a caption that readers accept. A filter of the build has a lower limit."""
MAX_NAME = 1000  # characters of a category, a group or a license

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"})
_UNREAD = {
    **{".jxl": "JPEG XL", ".jp2": "JPEG 2000", ".j2k": "JPEG 2000", ".svg": "SVG", ".psd": "PSD"},
    **dict.fromkeys((".heic", ".heif"), "HEIC"),
    **dict.fromkeys((".dng", ".cr2", ".nef", ".arw"), "raw"),
}

DOWNLOAD = "download the images with img2dataset and build its output folder"
"""What to do with URLs; docs/your-own-data.md has the commands."""

SPLIT_OF_WORD: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}


def split_in_name(name: str) -> Split:
    """Return the split that a file name mentions, the last one where it mentions several.

    >>> split_in_name("inter_caltech-101_train"), split_in_name("test-00000-of-00002"), split_in_name("captions")
    ('train', 'test', '')
    """
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLIT_OF_WORD[word] for word in reversed(words) if word in SPLIT_OF_WORD), "")


def clip_group(path: str) -> str:
    """Return the video of a UCF101 frame, which no split may divide; empty for other files.

    >>> clip_group("Archery/v_Archery_g08_c01.jpg"), clip_group("wren/1.jpg")
    ('v_Archery_g08', '')
    """
    if "v_" not in path:
        return ""
    found = re.fullmatch(r"(v_\w+_g\d+)_c\d+", PurePosixPath(path).stem)
    return found[1] if found else ""


def is_image(path: str) -> bool:
    """Return whether the name has the extension of an image.

    >>> is_image("a/b.JPG"), is_image("a/b.txt")
    (True, False)
    """
    return os.path.splitext(path)[1].lower() in EXTENSIONS  # noqa: PTH122 - called once per file


def unread_format(path: str) -> str:
    """Return the name of the image format that the extension says, if fdrd does not read it.

    >>> unread_format("a/b.JXL"), unread_format("a/b.jpg")
    ('JPEG XL', '')
    """
    return _UNREAD.get(os.path.splitext(path)[1].lower(), "")  # noqa: PTH122 - called once per file


def is_absolute(path: str) -> bool:
    """Return whether the path is absolute on any operating system.

    >>> is_absolute("/root/x.jpg"), is_absolute("C:/x.jpg"), is_absolute("x.jpg")
    (True, True, False)
    """
    # Only a path that starts like this can have a drive; parsing every path would take long.
    return path.startswith("/") or (
        (path.startswith("\\") or path[1:2] == ":") and bool(PureWindowsPath(path).drive)
    )


def is_url(path: str) -> bool:
    """Return whether the text is an address instead of a path."""
    return path[:8].lower().startswith(("http://", "https://", "s3://", "gs://"))


def leaves_root(path: str) -> bool:
    r"""Return whether a relative path could leave its folder.

    >>> leaves_root("../x.jpg"), leaves_root("a/../b.jpg"), leaves_root("a\\..\\b.jpg"), leaves_root("a/b")
    (True, True, True, False)
    """
    return ".." in path.replace("\\", "/").split("/") or "\0" in path


def is_outside(path: str) -> bool:
    """Return whether the path of a member could lead out of the folder of its archive."""
    return is_absolute(path) or leaves_root(path)
