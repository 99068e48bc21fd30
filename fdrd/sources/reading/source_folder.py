"""The folder that a reader reads: its files, listed once, and safe access to their bytes."""

from __future__ import annotations

import codecs
import io
import os
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO

from fdrd.files.safe_open import open_inside
from fdrd.reasons import Rejection
from fdrd.sources.reading.names import is_image, leaves_root
from fdrd.sources.reading.options import NO_OPTIONS, SourceOptions

MAX_FILE = 2**30  # bytes of an annotation file that is read as a whole
MAX_UTF_16 = 2**28  # bytes of a file that is converted to UTF-8 in memory
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class SourceFolder:
    """A folder of a source, and the options for reading it.

    Hidden files are ignored, links to folders are not followed.
    """

    def __init__(self, root: Path, options: SourceOptions = NO_OPTIONS):
        self.root = root
        self.options = options

    @cached_property
    def files(self) -> list[str]:
        """POSIX paths of all files below the root, sorted within each folder.

        Links to files are included. Opening one checks where it leads.
        """
        found = []
        for folder, names, files in os.walk(self.root):
            names[:] = sorted(name for name in names if not name.startswith("."))
            prefix = folder[len(str(self.root)) :].replace(os.sep, "/").lstrip("/")
            prefix = f"{prefix}/" if prefix else ""
            found += [f"{prefix}{name}" for name in sorted(files) if not name.startswith(".")]
        return found

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.files)

    def __contains__(self, path: str) -> bool:
        """Return whether the folder has this file."""
        return path in self._known

    @cached_property
    def images(self) -> frozenset[str]:
        """The files that have the extension of an image."""
        return frozenset(filter(is_image, self.files))

    @cached_property
    def top(self) -> list[str]:
        """The files that lie directly in the folder."""
        return [path for path in self.files if "/" not in path]

    @cached_property
    def folders(self) -> list[str]:
        """Names of the folders directly below the root."""
        return sorted(
            path.name
            for path in self.root.iterdir()
            if path.is_dir() and not path.is_symlink() and not path.name.startswith(".")
        )

    def relative(self, path: str) -> str | None:
        """Return an absolute path relative to the root, or None if it lies elsewhere."""
        for root in (self.root.absolute(), self.root.resolve()):
            if not leaves_root(path) and path.startswith(f"{root.as_posix().rstrip('/')}/"):
                return PurePosixPath(path).relative_to(root.as_posix()).as_posix()
        return None

    def open(self, path: str) -> IO[bytes] | Rejection:
        """Open a file below the root, or say why that is not possible."""
        try:
            return open_inside(self.root, path)
        except OSError as error:
            outside = isinstance(error, PermissionError) and error.errno is None
            detail = str(error) if outside else f"{error.strerror}: {path}"
            return Rejection(path, "", "path_outside" if outside else "read_error", detail)

    def open_text(self, path: str) -> IO[bytes] | Rejection:
        """Open a file as UTF-8 bytes, converted from UTF-16 if it starts with that byte-order mark."""
        file = self.open(path)
        if isinstance(file, Rejection) or file.read(2) not in _UTF_16:
            if not isinstance(file, Rejection):
                file.seek(0)
            return file
        with file:
            file.seek(0)
            data = file.read(MAX_UTF_16 + 1)
        if len(data) > MAX_UTF_16:
            detail = f"over {MAX_UTF_16} bytes of UTF-16; convert it to UTF-8"
            return Rejection(path, "", "unreadable_annotations", detail)
        try:
            return io.BytesIO(data.decode("utf-16").encode())
        except UnicodeError as error:
            return Rejection(path, "", "unreadable_annotations", f"not UTF-16: {error}"[:200])

    def read(self, path: str) -> bytes | Rejection:
        """Read a whole text file of at most `MAX_FILE` bytes, or say why that is not possible."""
        file = self.open_text(path)
        if isinstance(file, Rejection):
            return file
        with file:
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            detail = f"over {MAX_FILE} bytes; divide it, or give JSON lines"
            return Rejection(path, "", "unreadable_annotations", detail)
        return data

    def start(self, path: str, size: int = 2**16) -> bytes:
        """Return the first bytes of a file, none where it cannot be read; UTF-16 becomes UTF-8."""
        file = self.open(path)
        if isinstance(file, Rejection):
            return b""
        with file:
            data = file.read(size)
        return data.decode("utf-16", "ignore").encode() if data[:2] in _UTF_16 else data
