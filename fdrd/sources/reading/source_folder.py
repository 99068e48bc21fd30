"""The folder that a reader reads: its files, listed once, and safe access to their bytes."""

from __future__ import annotations

import codecs
import io
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO

from fdrd.errors import FdrdError
from fdrd.files.paths import open_inside
from fdrd.record import ImageRef
from fdrd.sources.reading.archives import ANNOTATIONS, Archive, open_archive
from fdrd.sources.reading.names import is_image, leaves_root
from fdrd.sources.reading.options import NO_OPTIONS, SourceOptions

MAX_FILE = 2**30  # bytes of an annotation file that is read as a whole
MAX_UTF_16 = 2**28  # bytes of a file that is converted to UTF-8 in memory
_IN_MEMORY = 2**26  # bytes of a member of an archive that is read as a whole
_MAX_TARS = 3  # more tar archives are shards of samples, which would take long to list
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_Member = tuple[str, Archive, str]
"""The path of an archive, the archive, and the name of a file in it."""


class RejectedError(Exception):
    """What is read is rejected. The arguments are the reason, a key of `fdrd.reasons.REASONS`, and the detail."""


class SourceFolder:
    """A folder of a source, and the options for reading it.

    Members of zip and tar archives in it count as its files. Hidden files are ignored, links to folders are
    not followed.
    """

    def __init__(self, root: Path, options: SourceOptions = NO_OPTIONS):
        self.root = root
        self.options = options
        self._inherited: dict[str, _Member] = {}

    def sub(self, name: str) -> SourceFolder:
        """Return a folder in this one, or in its archives."""
        folder = SourceFolder(self.root / name, self.options)
        if name in self._below:
            paths = {path: self._members.get(f"{name}/{path}") for path in self._below[name]}
            folder._on_disk = [path for path, member in paths.items() if not member]
            folder._inherited = {
                path: (f"../{member[0]}", *member[1:]) for path, member in paths.items() if member
            }
        return folder

    @cached_property
    def _below(self) -> dict[str, list[str]]:
        """The files of each folder directly below the root, with their paths in it."""
        below: dict[str, list[str]] = defaultdict(list)
        for path in self.files:
            name, slash, rest = path.partition("/")
            if slash:
                below[name].append(rest)
        return below

    @cached_property
    def _on_disk(self) -> list[str]:
        return self._listed[0]

    @property
    def linked_folders(self) -> list[str]:
        """The links to folders, which are not followed."""
        return self._listed[1]

    @cached_property
    def _listed(self) -> tuple[list[str], list[str]]:
        """The files on the disk, and the links to folders."""
        found, links = [], []
        for folder, names, files in os.walk(self.root, onerror=_refuse):
            names[:] = sorted(name for name in names if not name.startswith("."))
            prefix = folder[len(str(self.root)) :].replace(os.sep, "/").lstrip("/")
            prefix = f"{prefix}/" if prefix else ""
            found += [f"{prefix}{name}" for name in sorted(files) if not name.startswith(".")]
            links += [f"{prefix}{name}" for name in names if Path(folder, name).is_symlink()]
        return found, links

    @cached_property
    def archives(self) -> dict[str, Archive]:
        """Archives directly in the folder that are read as folders."""
        top = sorted(path for path in self._on_disk if "/" not in path)
        tars = [path for path in top if path.lower().endswith(".tar")]
        left_out = set(tars if len(tars) > _MAX_TARS else ())
        opened = {name: open_archive(self.root, name) for name in top if name not in left_out}
        return {name: archive for name, archive in opened.items() if archive}

    @cached_property
    def _members(self) -> dict[str, _Member]:
        """What is not on the disk, by path."""
        found = dict(self._inherited)
        for name, archive in self.archives.items():
            paths = {member.removeprefix("./"): member for member in archive.names}
            for path in sorted(paths.keys() & found.keys()):
                if is_image(path) or path.lower().endswith(ANNOTATIONS):
                    raise FdrdError(
                        f"{self.root}: {found[path][0]} and {name} both hold {path}; unpack each into a folder of "
                        "its own, or remove one"
                    )
            found |= {path: (name, archive, member) for path, member in paths.items()}
        for path in self._on_disk if found else ():
            found.pop(path, None)
        return found

    @cached_property
    def files(self) -> list[str]:
        """POSIX paths of all files, sorted within each folder, those of archives last.

        Links to files are included. Opening one checks where it leads.
        """
        return [*self._on_disk, *sorted(self._members)]

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
        """The files directly in the folder."""
        return [path for path in self.files if "/" not in path]

    @cached_property
    def folders(self) -> list[str]:
        """Names of the folders directly below the root."""
        on_disk = {
            path.name
            for path in (self.root.iterdir() if self.root.is_dir() else ())
            if path.is_dir() and not path.is_symlink() and not path.name.startswith(".")
        }
        return sorted(on_disk | {path.split("/")[0] for path in self._members if "/" in path})

    def in_archive(self, path: str) -> bool:
        """Return whether a file is a member of an archive."""
        return path in self._members

    def image(self, path: str) -> ImageRef:
        """Return where the bytes of an image are."""
        if path not in self._members:
            return ImageRef(path)
        file, archive, member = self._members[path]
        return ImageRef(file, archive.locate(member))

    def relative(self, path: str) -> str | None:
        """Return an absolute path relative to the root, or None if it is elsewhere."""
        for root in self._roots:
            if path.startswith(root) and not leaves_root(path):
                return PurePosixPath(path).relative_to(root).as_posix()
        return None

    @cached_property
    def _roots(self) -> tuple[str, str]:
        """The root with a slash at the end: as it was given, and with links resolved."""
        absolute, real = self.root.absolute().as_posix(), self.root.resolve().as_posix()
        return f"{absolute.rstrip('/')}/", f"{real.rstrip('/')}/"

    def open(self, path: str) -> IO[bytes]:
        """Open a file below the root.

        Raises:
            RejectedError: it cannot be opened, or leads out of the root.
        """
        with _rejecting(path):
            if path not in self._members:
                return open_inside(self.root, path)
            _, archive, member = self._members[path]
            with archive.open(member) as stream:  # read to its end once: a damaged one fails here
                data = stream.read(_IN_MEMORY + 1)
                if len(data) <= _IN_MEMORY:
                    return io.BytesIO(data)
                while stream.read(2**20):
                    pass
            return archive.open(member)

    def open_text(self, path: str) -> IO[bytes]:
        """Open a file as UTF-8 bytes, converted from UTF-16 if it starts with that byte-order mark.

        Raises:
            RejectedError: as `open`, or it is too long or not UTF-16.
        """
        file = self.open(path)
        with _rejecting(path):
            start = file.read(2)
            file.seek(0)
            if start not in _UTF_16:
                return file
            with file:
                data = file.read(MAX_UTF_16 + 1)
            if len(data) > MAX_UTF_16:
                raise ValueError(f"over {MAX_UTF_16} bytes of UTF-16; convert it to UTF-8")
            try:
                return io.BytesIO(data.decode("utf-16").encode())
            except UnicodeError as error:
                raise ValueError(f"not UTF-16: {error}") from error

    def read(self, path: str) -> bytes:
        """Read a whole text file of at most `MAX_FILE` bytes.

        Raises:
            RejectedError: as `open_text`.
        """
        with self.open_text(path) as file, _rejecting(path):
            data = file.read(MAX_FILE + 1)
            if len(data) > MAX_FILE:
                raise ValueError(f"over {MAX_FILE} bytes; divide it, or give JSON lines")
            return data

    def start(self, path: str, size: int = 2**16) -> bytes:
        """Return the first bytes of a file, none where it cannot be read; UTF-16 becomes UTF-8."""
        try:
            with self.open(path) as file:
                data = file.read(size)
        except Exception:  # damaged members of archives raise many types
            return b""
        return data.decode("utf-16", "ignore").encode() if data[:2] in _UTF_16 else data

    def json_with(self, keys: tuple[bytes, ...]) -> list[str]:
        """Return the JSON files here and one folder below that have all keys near their start."""
        files = [path for path in self.files if path.endswith(".json") and path.count("/") <= 1]
        return [
            path
            for path in files
            if (start := self.start(path)) and all(key in start for key in keys)
        ]


@contextmanager
def _rejecting(path: str) -> Iterator[None]:
    """Turn what reading a file raises into a `RejectedError`."""
    try:
        yield
    except MemoryError:
        raise
    except OSError as error:
        outside = isinstance(error, PermissionError) and error.errno is None
        reason = "path_outside" if outside else "read_error"
        detail = str(error) if outside else f"{error.strerror}: {path}"
        raise RejectedError(reason, detail) from error
    except Exception as error:  # zipfile raises many types on hostile members
        raise RejectedError("unreadable_annotations", f"{error}"[:200]) from error


def _refuse(error: OSError) -> None:
    """Raise for a folder that cannot be listed: its files must not be left out. An archive is no folder."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
