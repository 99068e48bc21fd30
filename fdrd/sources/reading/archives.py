"""Zip and tar archives whose members a reader sees as files of the folder that holds the archive.

Nothing is unpacked to disk. Images are read at their offset, annotation files through a stream.
"""

from __future__ import annotations

import os
import struct
import tarfile
import zipfile
from collections.abc import Collection, Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, cast

from fdrd.errors import FdrdError
from fdrd.files.safe_open import open_inside
from fdrd.images.containers import deflated_member, tar_member
from fdrd.reasons import Rejection
from fdrd.sources.reading.names import is_absolute, is_image, leaves_root

MAX_RATIO = 50
"""Times its compressed size that an archive may have. Images barely compress; text compresses tenfold."""
FREE_BYTES = 2**26
"""Bytes that any zip archive may have, because drawings in small ones compress more."""
_MAX_BYTES = 2**30  # uncompressed bytes that any member may have
_MAX_RATIO = 1000  # larger members may have this many times their compressed size
_MAX_IMAGE = 2**28  # bytes of an image
ANNOTATIONS = (".json", ".jsonl", ".csv", ".tsv", ".token", "images.txt", "captions.txt")
_LOCAL_HEADER = 30  # bytes before the name in a zip archive
_TEXTS = {".txt", ".json", ".cls"}  # with an image of the same name: a sample of webdataset


class Archive(Protocol):
    """An archive of the source."""

    names: list[str]
    """Members that can be read, in the order of the archive."""
    refused: list[Rejection]
    """Members that cannot."""

    def open(self, name: str) -> IO[bytes]:
        """Return a stream of a member."""

    def place(self, name: str) -> str:
        """Return the member of an `ImageRef`."""


def open_archive(root: Path, file: str) -> Archive | None:
    """Return an archive, or None for other files and for tar archives of samples, which `webdataset` reads.

    Raises:
        FdrdError: a zip archive expands to far more than its size.
    """
    suffix = PurePosixPath(file).suffix.lower()
    try:
        if suffix == ".zip":
            return _Zip(root, file)
        archive = _Tar(root, file) if suffix == ".tar" else None
    except FdrdError:
        raise
    except Exception:  # zipfile and tarfile raise many types on damaged archives
        return None
    return None if archive is None or archive.holds_samples else archive


class _Zip:
    def __init__(self, root: Path, file: str):
        self._file = open_inside(root, file)
        self._size = os.fstat(self._file.fileno()).st_size
        self._zip = zipfile.ZipFile(self._file)
        # Reading enforces these sizes: it ends at the size that the directory of the archive says.
        total = sum(info.file_size for info in self._zip.infolist())
        if total > max(FREE_BYTES, MAX_RATIO * self._size):
            raise expands_too_far(root / file)
        self.refused: list[Rejection] = []
        self._members: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            if not info.filename or info.is_dir() or _is_hidden(info.filename):
                continue
            flaw = _flaw(info.filename, self._members) or self._flaw(info)
            if flaw:
                self.refused.append(Rejection(file, info.filename[:200], *flaw))
            else:
                self._members[info.filename] = info
        self.names = list(self._members)

    def open(self, name: str) -> IO[bytes]:
        return self._zip.open(self._members[name])

    def place(self, name: str) -> str:
        info = self._members[name]
        self._file.seek(info.header_offset + _LOCAL_HEADER - 4)
        lengths = struct.unpack("<HH", self._file.read(4).ljust(4, b"\0"))
        offset = info.header_offset + _LOCAL_HEADER + sum(lengths)
        if info.compress_type == zipfile.ZIP_STORED:
            return tar_member(offset, info.file_size, name)
        return deflated_member(offset, info.compress_size, info.file_size, name)

    def _flaw(self, info: zipfile.ZipInfo) -> tuple[str, str] | None:
        if not 0 <= info.header_offset <= self._size - info.compress_size:
            return "unreadable_annotations", "it is outside the archive"
        if info.flag_bits & 1:
            return "unreadable_annotations", "it is encrypted"
        if info.external_attr >> 28 == 0o12:
            return "not_a_file", "it is a link"
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            return "unreadable_annotations", "its compression is not read in place; unpack it"
        if is_image(info.filename) and info.file_size > _MAX_IMAGE:
            return "image_too_large", f"{info.file_size} bytes, the limit is {_MAX_IMAGE}"
        if info.file_size > max(_MAX_BYTES, _MAX_RATIO * info.compress_size):
            return "unreadable_annotations", f"{info.file_size} bytes would fill the memory"
        return None


class _Tar:
    def __init__(self, root: Path, file: str):
        self._file = open_inside(root, file)
        self.refused: list[Rejection] = []
        self._members: dict[str, tarfile.TarInfo] = {}
        self._tar = tarfile.open(fileobj=self._file, mode="r:")  # noqa: SIM115 - read while the source is
        for info in self._tar:
            if info.isdir() or _is_hidden(info.name):
                continue
            flaw = _flaw(info.name, self._members)
            if not flaw and (not info.isreg() or info.issparse()):
                flaw = "not_a_file", f"{info.name} is not a regular file"[:400]
            if flaw:
                self.refused.append(Rejection(file, info.name[:200], *flaw))
            else:
                self._members[info.name] = info
        self.names = list(self._members)

    @cached_property
    def holds_samples(self) -> bool:
        """True if images have text files of the same name, or if nothing else could describe them."""
        images = {name.rpartition(".")[0] for name in self.names if is_image(name)}
        others = [name for name in self.names if not is_image(name)]
        stems = [
            name.rpartition("/")[0] + "/" + name.rpartition("/")[2].partition(".")[0]
            for name in others
        ]
        keys = {f"/{image}" if "/" not in image else image for image in images}
        paired = any(
            stem in keys and PurePosixPath(name).suffix.lower() in _TEXTS
            for stem, name in zip(stems, others, strict=True)
        )
        described = any(name.lower().endswith(ANNOTATIONS) for name in others)
        return paired or not described

    def open(self, name: str) -> IO[bytes]:
        return cast("IO[bytes]", self._tar.extractfile(self._members[name]))

    def place(self, name: str) -> str:
        info = self._members[name]
        return tar_member(info.offset_data, info.size, name)


def expands_too_far(archive: Path) -> FdrdError:
    """Return the error for an archive that would fill the disk."""
    return FdrdError(f"{archive} expands to over {MAX_RATIO} times its size; unpack it")


def _is_hidden(name: str) -> bool:
    return any(
        part.startswith((".", "__MACOSX")) and part not in ("..", ".") for part in name.split("/")
    )


def _flaw(name: str, known: Collection[str]) -> tuple[str, str] | None:
    if is_absolute(name) or leaves_root(name):
        return "path_outside", name[:400]
    if name in known:
        return "duplicate_id", "the archive has it already"
    return None


def archives_in(files: Iterable[str], max_tars: int = 3) -> list[str]:
    """Return the archives among the files of a folder that may be read as folders.

    Many tar archives are shards of samples. They are not listed, which would take long.
    """
    tars = [file for file in files if file.lower().endswith(".tar")]
    zips = [file for file in files if file.lower().endswith(".zip")]
    return sorted([*zips, *(tars if len(tars) <= max_tars else [])])
