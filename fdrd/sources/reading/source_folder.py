"""The folder that a reader reads: its files, listed once, and safe access to their bytes.

Members of zip and tar archives are files of the folder that holds the archive. Nothing is unpacked to disk: images are
read at their offset, annotation files through a stream.
"""

import codecs
import io
import os
import re
import struct
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, TypeVar, cast

from fdrd.errors import FdrdError
from fdrd.files.paths import open_inside
from fdrd.images.containers import deflated_member, tar_member
from fdrd.reasons import Rejection
from fdrd.record import ImageRef
from fdrd.sources.reading.columns import NO_OPTIONS, SourceOptions
from fdrd.sources.reading.names import is_image, is_outside, leaves_root

MAX_RATIO = 50
"""Times its compressed size that an archive may have. Images barely compress; text compresses tenfold."""
FREE_BYTES = 2**26
"""Bytes that any zip archive may have, because drawings in small ones compress more."""
_MAX_BYTES = 2**30  # uncompressed bytes that any member or table may have
_MAX_RATIO = 1000  # larger ones may have this many times their compressed size
_MAX_IMAGE = 2**28  # bytes of an image
ANNOTATIONS = (".json", ".jsonl", ".csv", ".tsv", ".token", "images.txt", "captions.txt")
_LOCAL_HEADER = 30  # bytes before the name in a zip archive
_TEXTS = (".txt", ".json", ".cls")  # with an image of the same name: a sample of webdataset
_HIDDEN = re.compile(r"(?:^|/)(?:__MACOSX|\.(?!\.?(?:/|\Z)))")
MAX_FILE = 2**30  # bytes of an annotation file that is read as a whole
MAX_UTF_16 = 2**28  # bytes of a file that is converted to UTF-8 in memory
_IN_MEMORY = 2**26  # bytes of a member of an archive that is read as a whole
_MAX_TARS = 3  # more tar archives are shards of samples, which would take long to list
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

Info = TypeVar("Info")


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive of the source: the members that can be read, in its order, and rejections of the others.

    `open` returns a stream of a member, `locate` its `ImageRef.member`.
    """

    names: list[str]
    refused: list[Rejection]
    open: Callable[[str], IO[bytes]]
    locate: Callable[[str], str]


def open_archive(root: Path, file: str) -> Archive | None:
    """Return an archive, or None for other files and for tar archives of samples, which `webdataset` reads.

    Raise `FdrdError` if a zip archive expands to far more than its size.
    """
    open_as = {".zip": _open_zip, ".tar": _open_tar}.get(PurePosixPath(file).suffix.lower())
    try:
        return open_as(root, file) if open_as else None
    except FdrdError:
        raise
    except Exception:  # zipfile and tarfile raise many types on damaged archives
        return None


def _open_zip(root: Path, file: str) -> Archive:
    opened = open_inside(root, file)
    size = os.fstat(opened.fileno()).st_size
    archive = zipfile.ZipFile(opened)
    infos = [each for each in archive.infolist() if each.filename and not each.is_dir()]
    # Reading enforces these sizes: it ends at the size that the directory of the archive says.
    if sum(each.file_size for each in infos) > max(FREE_BYTES, MAX_RATIO * size):
        raise expands_too_far(root / file)
    named = ((each.filename, each) for each in infos)
    members, refused = _checked(file, named, lambda info: _zip_flaw(info, size))

    def locate(name: str) -> str:
        info = members[name]
        opened.seek(info.header_offset + _LOCAL_HEADER - 4)
        lengths = struct.unpack("<HH", opened.read(4).ljust(4, b"\0"))
        offset = info.header_offset + _LOCAL_HEADER + sum(lengths)
        if info.compress_type == zipfile.ZIP_STORED:
            return tar_member(offset, info.file_size, name)
        return deflated_member(offset, info.compress_size, info.file_size, name)

    return Archive(list(members), refused, lambda name: archive.open(members[name]), locate)


def fills_memory(size: int, stored: int) -> bool:
    """Return whether content of `size` bytes, `stored` in a file, is a decompression bomb."""
    return size > max(_MAX_BYTES, _MAX_RATIO * stored)


def _zip_flaw(info: zipfile.ZipInfo, size: int) -> tuple[str, str] | None:
    """Return reason and detail of the rejection of a member, None for one that can be read."""
    if not 0 <= info.header_offset <= size - info.compress_size:
        return "unreadable_annotations", "it is outside the archive"
    if info.flag_bits & 1:
        return "unreadable_annotations", "it is encrypted"
    if info.external_attr >> 28 == 0o12:
        return "not_a_file", "it is a link"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "unreadable_annotations", "its compression is not read in place; unpack it"
    if is_image(info.filename) and info.file_size > _MAX_IMAGE:
        return "image_too_large", f"{info.file_size} bytes, the limit is {_MAX_IMAGE}"
    if fills_memory(info.file_size, info.compress_size):
        return "unreadable_annotations", f"{info.file_size} bytes would fill the memory"
    return None


def _open_tar(root: Path, file: str) -> Archive | None:
    archive = tarfile.open(fileobj=open_inside(root, file), mode="r:")  # noqa: SIM115 - read while the source is
    named = ((info.name, info) for info in archive if not info.isdir())
    members, refused = _checked(file, named, _tar_flaw)
    if _holds_samples(members):
        return None
    return Archive(
        list(members),
        refused,
        lambda name: cast("IO[bytes]", archive.extractfile(members[name])),
        lambda name: tar_member(members[name].offset_data, members[name].size, name),
    )


def _tar_flaw(info: tarfile.TarInfo) -> tuple[str, str] | None:
    if info.isreg() and not info.issparse():
        return None
    return "not_a_file", f"{info.name} is not a regular file"[:400]


def _holds_samples(names: Collection[str]) -> bool:
    """Return whether images have text files of the same name, or nothing else could describe them."""
    images = {PurePosixPath(name).with_suffix("").as_posix() for name in names if is_image(name)}
    others = [name.lower() for name in names if not is_image(name)]
    texts = (PurePosixPath(name) for name in names if name.lower().endswith(_TEXTS))
    paired = any((text.parent / text.name.partition(".")[0]).as_posix() in images for text in texts)
    return paired or not any(name.endswith(ANNOTATIONS) for name in others)


def _checked(
    file: str,
    infos: Iterable[tuple[str, Info]],
    flaw_of: Callable[[Info], tuple[str, str] | None],
) -> tuple[dict[str, Info], list[Rejection]]:
    """Return the members of an archive that can be read, and rejections of the others."""
    members: dict[str, Info] = {}
    refused: list[Rejection] = []
    for name, info in infos:
        if _HIDDEN.search(name):
            continue
        if is_outside(name):
            refused.append(Rejection(file, name[:200], "path_outside", name[:400]))
        elif name in members:
            detail = "the archive has it already"
            refused.append(Rejection(file, name[:200], "duplicate_id", detail))
        elif flaw := flaw_of(info):
            refused.append(Rejection(file, name[:200], *flaw))
        else:
            members[name] = info
    return members, refused


def expands_too_far(archive: Path) -> FdrdError:
    """Return the error for an archive that would fill the disk."""
    return FdrdError(f"{archive} expands to over {MAX_RATIO} times its size; unpack it")


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

    def sub(self, name: str) -> "SourceFolder":
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
                    both = f"{found[path][0]} and {name} both hold {path}"
                    remedy = "unpack each into a folder of its own, or remove one"
                    raise FdrdError(f"{self.root}: {both}; {remedy}")
            found |= {path: (name, archive, member) for path, member in paths.items()}
        for path in self._on_disk if found else ():
            found.pop(path, None)
        return found

    @cached_property
    def files(self) -> list[str]:
        """POSIX paths of all files, sorted within each folder, those of archives last; links to files are included."""
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
        """Open a file below the root. Raise `RejectedError` if it cannot be opened, or leads out of the root."""
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

        Raise `RejectedError` as `open`, or if it is too long or not UTF-16.
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
        """Read a whole text file of at most `MAX_FILE` bytes. Raise `RejectedError` as `open_text`."""
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

    def upper_files(self, *endings: str) -> list[str]:
        """Return the files here and one folder below that have one of these endings."""
        return [path for path in self.files if path.endswith(endings) and path.count("/") <= 1]

    def json_with(self, keys: tuple[bytes, ...]) -> list[str]:
        """Return the JSON files here and one folder below that have all keys near their start."""
        starts = ((path, self.start(path)) for path in self.upper_files(".json"))
        return [path for path, start in starts if all(key in start for key in keys)]


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
