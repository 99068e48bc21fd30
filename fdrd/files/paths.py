"""Paths: files inside a source, names of files, the cache folder, and files of this package. None leads elsewhere."""

import errno
import os
import re
import stat
from functools import lru_cache
from pathlib import Path
from typing import IO

from fdrd.errors import FdrdError


def resolve_inside(root: str | Path, path: str) -> Path:
    """Return the real path of a regular file below the root; raise as `real_path_inside` does."""
    return Path(real_path_inside(root, path))


def real_path_inside(root: str | Path, path: str) -> str:
    """Return the real path of a regular file below the root as text, which is faster to make than a `Path`.

    Raise `PermissionError` if a link leads out of the root. Raise `OSError` if there is no such file, or it is a
    folder, a pipe or a device.
    """
    top = os.fspath(root)
    if not os.path.isabs(top):  # noqa: PTH117 - called once per image
        top = os.path.join(Path.cwd(), top)  # noqa: PTH118
    folder, _, name = f"{top}/{path}".rpartition("/")
    real = f"{_real_folder(folder)}{os.sep}{name}"
    if name in ("", ".", "..") or os.path.islink(real):  # noqa: PTH114
        real = os.path.realpath(real)
    if not real.startswith(_real_folder(top).rstrip(os.sep) + os.sep):
        raise PermissionError(f"{path} is a link that leaves the source folder")
    if not stat.S_ISREG(os.stat(real).st_mode):  # noqa: PTH116
        raise OSError(errno.EINVAL, "not a regular file", path)
    return real


def open_inside(root: str | Path, path: str) -> IO[bytes]:
    """Open a file below the root for reading; raise as `resolve_inside` does."""
    return resolve_inside(root, path).open("rb")


@lru_cache(maxsize=4096)
def _real_folder(folder: str) -> str:
    """Resolve a folder once for all of its files, because each path component costs a system call."""
    return os.path.realpath(folder)


DIGEST = "[0-9a-f]{64}"  # pattern of a SHA-256 digest

_REMEDY = "`fdrd validate` lists all problems of a dataset"


def is_folder_name(text: object) -> bool:
    r"""Return whether a value is one part of a path, on any system.

    >>> [is_folder_name(text) for text in ("birds", "..", "a/b", "a\\b", "", "a\0")]
    [True, False, False, False, False, False]
    """
    return isinstance(text, str) and text not in ("", ".", "..") and not re.search(r"[/\\\0]", text)


def digest_name(text: object) -> str:
    """Return a digest of a dataset that becomes a file name; raise `FdrdError` if it is none."""
    if not (isinstance(text, str) and re.fullmatch(DIGEST, text)):
        raise FdrdError(
            f"{text!r} is not a SHA-256 digest, so no file is named after it; {_REMEDY}"
        )
    return text


def domain_folder(text: object) -> str:
    """Return the name of a domain that becomes a folder; raise `FdrdError` if it leads elsewhere."""
    if not is_folder_name(text):
        raise FdrdError(f"the domain name {text!r} cannot be used as a folder name; {_REMEDY}")
    return str(text)


def category_folder(category: str) -> str:
    """Return a name that is safe as a folder, empty for no category.

    >>> category_folder("House Wren"), category_folder("../a/b"), category_folder("")
    ('House Wren', '_a_b', '')
    """
    return re.sub(r"[^\w ()&'-]+", "_", category)[:100].strip()


def packaged(name: str) -> Path:
    """Return a file of the repository, which a wheel has inside the package."""
    package = Path(__file__).parents[1]
    return next(path for path in (package / name, package.parent / name) if path.is_file())


def cache_folder() -> Path:
    """Return $FDRD_CACHE or ~/.cache/fdrd, the folder for files that can be created again."""
    return Path(os.environ.get("FDRD_CACHE") or Path.home() / ".cache" / "fdrd")


def is_of_cache(name: str | Path) -> bool:
    """Return whether a path is inside the cache folder, or is to be a folder around it and is none."""
    path, cache = Path(name), cache_folder()
    return path.is_relative_to(cache) or (cache.is_relative_to(path) and not path.is_dir())
