"""A build in parts, as for an array of jobs: each part examines and writes what is its own, the merge decides.

Every part reads all annotations, which is cheap, and owns an image by a hash of its name. Its folder has all that a
merge needs, so that the merge runs without the source:

    part.json     which part it is, of which source and settings, and the digests of the other files
    items.jsonl   its records, with attributes, and rejections, each with its place in the order of the source
    images.jsonl  what each of its images is worth, and where the bytes of good ones lie in
    images.tar    named by their digests

What is near another record, or leaks into another split, is seen from both sides only; so no part drops
anything but pictures that are none.
"""

from __future__ import annotations

import hashlib
import heapq
import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from fdrd.curation.source_contents import Item, Place, SourceContents
from fdrd.errors import FdrdError
from fdrd.files.atomic import replacing, sha256_of, write_text
from fdrd.images.check import ImageCheck, read_image
from fdrd.images.containers import tar_member
from fdrd.reasons import Rejection
from fdrd.record import ImageRef, Record, from_json, to_json
from fdrd.storage.manifest import dump

FILES = ("items.jsonl", "images.jsonl", "images.tar")
MARKER = "part.json"
VERSION = 1
_COMMON = ("of", "config", "libraries", "domains", "source")  # what all parts of a build say alike
_HEADER = 512  # bytes of a tar before each member


@dataclass(frozen=True, slots=True)
class Part:
    """Part `number` of `of`, counted from 1."""

    number: int
    of: int

    def owns(self, place: int, item: Item) -> bool:
        """Whether an item at a place in the order of the source is this part's: all records of an image together."""
        key = f"{item.image}" if isinstance(item, Record) else f"{place}"
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % self.of == self.number - 1


def parse_part(text: str) -> Part:
    """The part that `i/n` names.

    >>> parse_part("2/8")
    Part(number=2, of=8)

    Raises:
        FdrdError: it names none.
    """
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise FdrdError(f"--part {text!r}: give I/N with I from 1 to N, as in 2/8")
    return Part(int(number), int(of))


class Share:
    """The items of one part while a source is read, their places, and a digest of the whole source."""

    def __init__(self, part: Part):
        self._part = part
        self._digest = hashlib.sha256()
        self.places: list[int] = []

    def of(self, items: Iterable[Item]) -> Iterator[Item]:
        """The part's own of the items."""
        for place, item in enumerate(items):
            self._digest.update(repr(item).encode("utf-8", "backslashreplace"))
            if self._part.owns(place, item):
                self.places.append(place)
                yield item

    @property
    def source(self) -> str:
        """The digest of all items, once they were read: the same for all parts of one source."""
        return self._digest.hexdigest()


def write_part(
    folder: Path, gathered: SourceContents, share: Share, about: Mapping[str, Any]
) -> None:
    """Writes the folder of a part; it is whole once `part.json` is there.

    Args:
        folder: made where there is none.
        gathered: the part's share.
        share: where the items stand in the source.
        about: what else a merge must know; all parts of a build say the same but for their number.
    """
    (folder / MARKER).unlink(missing_ok=True)
    with replacing(folder / "items.jsonl") as file:
        for place, item in zip(share.places, gathered.items, strict=True):
            kind = "record" if isinstance(item, Record) else "rejection"
            said = to_json(item) if isinstance(item, Record) else asdict(item)
            file.write(_line({"place": place, kind: said}))
    with (
        replacing(folder / "images.jsonl") as list_file,
        replacing(folder / "images.tar") as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        written: dict[str, str] = {}
        for ref, found in gathered.examined.items():
            if not found.reason and found.sha256 not in written:
                written[found.sha256] = tar_member(
                    archive.offset + _HEADER, found.bytes, found.sha256
                )
                data = _unchanged(gathered.root, ref, found)
                info = tarfile.TarInfo(found.sha256)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
            member = written.get(found.sha256, "")
            list_file.write(_line({"image": asdict(ref), "found": asdict(found), "at": member}))
    files = {name: sha256_of(folder / name) for name in FILES}
    said = {**about, "source": share.source, "files": files}
    write_text(folder / MARKER, dump({**said, "digest": _digest(said)}))


def read_parts(folders: Sequence[Path]) -> tuple[SourceContents, dict[str, Any]]:
    """All that the parts of a build gathered, and what their `part.json` say in common.

    Raises:
        FdrdError: a part is missing, damaged, given twice, or of another build.
    """
    said = [_read_marker(folder) for folder in folders]
    _check_all(folders, said)
    examined: dict[ImageRef, ImageCheck] = {}
    packed: dict[str, Place] = {}
    for folder in folders:
        for line in _lines(folder / "images.jsonl"):
            found = ImageCheck(**line["found"])
            examined[ImageRef(**line["image"])] = found
            if line["at"]:
                packed.setdefault(
                    found.sha256, Place(str(folder), ImageRef("images.tar", line["at"]))
                )
    ordered = heapq.merge(*(map(_item, _lines(folder / "items.jsonl")) for folder in folders),
                          key=itemgetter(0))  # fmt: skip
    common = {key: value for key, value in said[0].items() if key in _COMMON}
    common["parts"] = sorted(json.dumps(each["files"]) for each in said)
    return SourceContents([item for _, item in ordered], examined, "", packed), common


def is_part_of(folder: Path, inputs: str) -> bool:
    """Whether a folder holds a whole part that was made from these inputs."""
    try:
        return bool(_read_marker(folder)["inputs"] == inputs)
    except FdrdError:
        return False


def check_part_target(folder: Path) -> None:
    """Raises `FdrdError` if a folder holds something that is no part."""
    if folder.exists() and not folder.is_dir():
        raise FdrdError(f"{folder} is a file; --out takes a folder")
    foreign = [
        path.name
        for path in (folder.iterdir() if folder.is_dir() else ())
        if path.name not in (MARKER, *FILES) and not path.name.endswith(".partial")
    ]
    if foreign:
        raise FdrdError(f"{folder} holds {min(foreign)}; give each part an --out of its own")


def _read_marker(folder: Path) -> dict[str, Any]:
    try:
        said: dict[str, Any] = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        files = {name: sha256_of(folder / name) for name in FILES}
    except (OSError, ValueError) as error:
        raise FdrdError(
            f"{folder} is no whole part ({error}); `fdrd build --part I/N --out {folder}` makes one"
        ) from None
    digest = said.pop("digest", "") if isinstance(said, dict) else ""
    if digest != _digest(said) or said["version"] != VERSION or said["files"] != files:
        raise FdrdError(f"{folder} is damaged, or of another version of fdrd; build the part again")
    return said


def _check_all(folders: Sequence[Path], said: Sequence[Mapping[str, Any]]) -> None:
    number = {each["part"]: folder for each, folder in zip(said, folders, strict=True)}
    of = said[0]["of"]
    if missing := sorted(set(range(1, of + 1)) - number.keys()):
        raise FdrdError(f"part {missing[0]}/{of} is missing; give all {of} parts")
    for each, folder in zip(said, folders, strict=True):
        if number[each["part"]] != folder:
            raise FdrdError(f"{folder} and {number[each['part']]} are the same part")
        for key in _COMMON:
            if each[key] != said[0][key]:
                raise FdrdError(
                    f"{folder} is of another build than {folders[0]}: {key} differs; "
                    "build all parts from one source with the same options"
                )


def _digest(said: Any) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _unchanged(root: str, ref: ImageRef, found: ImageCheck) -> bytes:
    try:
        data = read_image(root, ref)
    except (OSError, LookupError, ValueError) as error:
        raise FdrdError(f"{ref}: {error}; run the command again") from error
    if hashlib.sha256(data).hexdigest() != found.sha256:
        raise FdrdError(f"{ref} changed during the build; run the command again")
    return data


def _item(line: Mapping[str, Any]) -> tuple[int, Item]:
    if "record" in line:
        return line["place"], from_json(line["record"])
    return line["place"], Rejection(**line["rejection"])


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
