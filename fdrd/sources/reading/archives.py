"""Zip and tar archives whose members a reader sees as files of the folder that holds the archive.

Nothing is unpacked to disk. Images are read at their offset, annotation files through a stream.
"""

from __future__ import annotations

import os
import struct
import tarfile
import zipfile
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TypeVar, cast

from fdrd.errors import FdrdError
from fdrd.files.paths import open_inside
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

Info = TypeVar("Info")
Flaw = tuple[str, str]
"""Reason and detail of a rejection."""


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive of the source.

    Attributes:
        names: members that can be read, in the order of the archive.
        refused: members that cannot.
        open: function that returns a stream of a member.
        locate: function that returns the `ImageRef.member` of a member.
    """

    names: list[str]
    refused: list[Rejection]
    open: Callable[[str], IO[bytes]]
    locate: Callable[[str], str]


def open_archive(root: Path, file: str) -> Archive | None:
    """Return an archive, or None for other files and for tar archives of samples, which `webdataset` reads.

    Raises:
        FdrdError: a zip archive expands to far more than its size.
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


def _zip_flaw(info: zipfile.ZipInfo, size: int) -> Flaw | None:
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
    if info.file_size > max(_MAX_BYTES, _MAX_RATIO * info.compress_size):
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


def _tar_flaw(info: tarfile.TarInfo) -> Flaw | None:
    if info.isreg() and not info.issparse():
        return None
    return "not_a_file", f"{info.name} is not a regular file"[:400]


def _holds_samples(names: Collection[str]) -> bool:
    """Return whether images have text files of the same name, or nothing else could describe them."""
    images = {PurePosixPath(name).with_suffix("").as_posix() for name in names if is_image(name)}
    others = [PurePosixPath(name) for name in names if not is_image(name)]
    paired = any(
        each.suffix.lower() in _TEXTS
        and (each.parent / each.name.partition(".")[0]).as_posix() in images
        for each in others
    )
    return paired or not any(each.name.lower().endswith(ANNOTATIONS) for each in others)


def _checked(
    file: str, infos: Iterable[tuple[str, Info]], flaw_of: Callable[[Info], Flaw | None]
) -> tuple[dict[str, Info], list[Rejection]]:
    """Return the members of an archive that can be read, and rejections of the others."""
    members: dict[str, Info] = {}
    refused: list[Rejection] = []
    for name, info in infos:
        if any(
            part.startswith((".", "__MACOSX")) and part not in ("..", ".")
            for part in name.split("/")
        ):
            continue  # hidden
        if is_absolute(name) or leaves_root(name):
            flaw: Flaw | None = ("path_outside", name[:400])
        elif name in members:
            flaw = "duplicate_id", "the archive has it already"
        else:
            flaw = flaw_of(info)
        if flaw:
            refused.append(Rejection(file, name[:200], *flaw))
        else:
            members[name] = info
    return members, refused


def expands_too_far(archive: Path) -> FdrdError:
    """Return the error for an archive that would fill the disk."""
    return FdrdError(f"{archive} expands to over {MAX_RATIO} times its size; unpack it")
