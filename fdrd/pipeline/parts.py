"""Build a dataset in parts, e.g. as an array of jobs: parts check images, the merge makes all decisions.

Every part reads all annotations, which is cheap, and processes the images whose hashed name falls to it. The
merge does not need the source, because the folder of a part contains everything:

    part.json     number of the part, source, settings, and digests of the other files
    items.jsonl   records with attributes, and rejections, with their positions in the source
    images.jsonl  the check of each image, and where the bytes of good images are in
    images.tar    which names images by digest

Near duplicates and leaks show only when all records are known, so a part drops nothing but broken images.
"""

from __future__ import annotations

import hashlib
import heapq
import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from msgspec import to_builtins

from fdrd.curation.source_contents import CheckedImage, ImageLocation, Item, SourceContents
from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_write, sha256_of, write_text
from fdrd.images.check import ImageCheck, read_image
from fdrd.images.containers import tar_member
from fdrd.kinds import refuse_other
from fdrd.reasons import Rejection
from fdrd.record import ImageRef, Record, from_json
from fdrd.storage.manifest import dump

FILES = ("items.jsonl", "images.jsonl", "images.tar")
MARKER = "part.json"
VERSION = 2
_COMMON = ("of", "config", "libraries", "domains", "source")  # equal in all parts of a build
_HEADER = 512  # bytes of a tar header before each member


@dataclass(frozen=True, slots=True)
class Part:
    """Part `number` of `of`, counted from 1."""

    number: int
    of: int

    def owns(self, position: int, item: Item) -> bool:
        """Return whether an item is in this part. All records of an image are in the same part."""
        key = f"{item.image}" if isinstance(item, Record) else f"{position}"
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % self.of == self.number - 1


def parse_part(text: str) -> Part:
    """Parse `i/n`.

    >>> parse_part("2/8")
    Part(number=2, of=8)

    Raises:
        FdrdError: the text has another form.
    """
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise FdrdError(f"--part {text!r}: give I/N with I from 1 to N, e.g. 2/8")
    return Part(int(number), int(of))


class PartFilter:
    """Selects the items of one part while a source is read, and computes a digest of the whole source.

    Attributes:
        positions: positions of the selected items in the source.
    """

    def __init__(self, part: Part):
        self._part = part
        self._digest = hashlib.sha256()
        self.positions: list[int] = []

    def select(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items of this part."""
        for position, item in enumerate(items):
            self._digest.update(repr(item).encode("utf-8", "backslashreplace"))
            if self._part.owns(position, item):
                self.positions.append(position)
                yield item

    @property
    def source(self) -> str:
        """Digest of all items read so far. After reading, it is the same for all parts of a source."""
        return self._digest.hexdigest()


def write_part(
    folder: Path, contents: SourceContents, share: PartFilter, about: Mapping[str, Any]
) -> None:
    """Write the folder of a part. It is complete once `part.json` exists.

    Args:
        folder: created if it is missing.
        contents: the part's items and checks.
        share: positions of the items.
        about: other data for the merge, equal in all parts except for the part's number.
    """
    (folder / MARKER).unlink(missing_ok=True)
    with atomic_write(folder / "items.jsonl") as file:
        for position, item in zip(share.positions, contents.items(), strict=True):
            kind = "record" if isinstance(item, Record) else "rejection"
            file.write(_line({"place": position, kind: item}))
    with (
        atomic_write(folder / "images.jsonl") as list_file,
        atomic_write(folder / "images.tar") as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        written: dict[str, str] = {}
        for image, check in ((each.image, each.check) for each in contents.images):
            if not check.reason and check.sha256 not in written:
                start = archive.offset + _HEADER
                written[check.sha256] = tar_member(start, check.bytes, check.sha256)
                data = _read_unchanged(contents.root, image, check)
                info = tarfile.TarInfo(check.sha256)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
            member = written.get(check.sha256, "")
            list_file.write(_line({"image": image, "found": check, "at": member}))
    files = {name: sha256_of(folder / name) for name in FILES}
    marker = {**about, "source": share.source, "files": files}
    write_text(folder / MARKER, dump({**marker, "digest": _digest(marker)}))


def read_common(folders: Sequence[Path]) -> dict[str, Any]:
    """Return what the `part.json` of all parts of a build have in common, and the origin that the first one has.

    Raises:
        FdrdError: a part is missing, damaged, given twice, or of another build.
    """
    markers = [_read_marker(folder) for folder in folders]
    _check_complete(folders, markers)
    common = {key: value for key, value in markers[0].items() if key in _COMMON}
    common["origin"] = min(markers, key=itemgetter("part"))["origin"]
    common["parts"] = sorted(json.dumps(marker["files"]) for marker in markers)
    return common


def read_parts(folders: Sequence[Path], contents: SourceContents) -> None:
    """Read the joined contents of all parts of a build."""
    numbers: dict[ImageRef, int] = {}
    for folder in folders:
        for line in _lines(folder / "images.jsonl"):
            check, image = ImageCheck.from_json(line["found"]), ImageRef(**line["image"])
            numbers[image] = len(contents.images)
            contents.images.append(CheckedImage(image, check))
            if line["at"]:
                location = ImageLocation(str(folder), ImageRef("images.tar", line["at"]))
                contents.packed.setdefault(check.sha256, location)
    ordered = heapq.merge(*(map(_item, _lines(folder / "items.jsonl")) for folder in folders),
                          key=itemgetter(0))  # fmt: skip
    for _, item in ordered:
        contents.add(item, numbers[item.image] if isinstance(item, Record) else -1)


def is_part_of(folder: Path, inputs: str) -> bool:
    """Return whether a folder contains a complete part made from these inputs."""
    try:
        return bool(_read_marker(folder)["inputs"] == inputs)
    except FdrdError:
        return False


def check_part_target(folder: Path) -> None:
    """Raise `FdrdError` if a folder contains anything but a part."""
    if folder.exists() and not folder.is_dir():
        raise FdrdError(f"{folder} is a file; --out takes a folder")
    foreign = [
        path.name
        for path in (folder.iterdir() if folder.is_dir() else ())
        if path.name not in (MARKER, *FILES) and not path.name.endswith(".partial")
    ]
    if foreign:
        raise FdrdError(f"{folder} contains {min(foreign)}; give each part its own --out")


def _read_marker(folder: Path) -> dict[str, Any]:
    try:
        marker: dict[str, Any] = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        files = {name: sha256_of(folder / name) for name in FILES}
    except (OSError, ValueError) as error:
        refuse_other(folder, "a part of a build", "part")
        raise FdrdError(
            f"{folder} is not a complete part ({error}); run `fdrd build --part I/N --out {folder}`"
        ) from None
    digest = marker.pop("digest", "") if isinstance(marker, dict) else ""
    if digest != _digest(marker) or marker["version"] != VERSION or marker["files"] != files:
        raise FdrdError(
            f"{folder} is damaged, or from another version of fdrd; build the part again"
        )
    return marker


def _check_complete(folders: Sequence[Path], markers: Sequence[Mapping[str, Any]]) -> None:
    number = {marker["part"]: folder for marker, folder in zip(markers, folders, strict=True)}
    of = markers[0]["of"]
    if missing := sorted(set(range(1, of + 1)) - number.keys()):
        raise FdrdError(f"part {missing[0]}/{of} is missing; give all {of} parts")
    for marker, folder in zip(markers, folders, strict=True):
        if number[marker["part"]] != folder:
            raise FdrdError(f"{folder} and {number[marker['part']]} are the same part")
        for key in _COMMON:
            if marker[key] != markers[0][key]:
                raise FdrdError(
                    f"{folder} and {folders[0]} are of different builds: {key} differs; "
                    "build all parts from one source with the same options"
                )


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _read_unchanged(root: str, image: ImageRef, check: ImageCheck) -> bytes:
    try:
        data = read_image(root, image)
    except (OSError, LookupError, ValueError) as error:
        raise FdrdError(f"{image}: {error}; run the command again") from error
    if hashlib.sha256(data).hexdigest() != check.sha256:
        raise FdrdError(f"{image} changed during the build; run the command again")
    return data


def _item(line: Mapping[str, Any]) -> tuple[int, Item]:
    if "record" in line:
        return line["place"], from_json(line["record"])
    return line["place"], Rejection(**line["rejection"])


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(to_builtins(value)).encode() + b"\n"


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
