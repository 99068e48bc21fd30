"""Read the published files of SugarCrepe, SugarCrepe++ and ECCV Caption; nothing of them is part of this package.

| set | file |
|---|---|
| SugarCrepe (arXiv 2306.14610) | `{"0": {"filename", "caption", "negative_caption"}, ...}` per kind of change |
| SugarCrepe++ (arXiv 2406.11171) | `[{"filename", "caption", "caption2", "negative_caption"}, ...]` per kind |
| ECCV Caption (arXiv 2204.03359) | a folder: `{"IMAGE": [CAPTION, ...]}` and back, and the captions file of COCO |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from fdrd.errors import FdrdError
from fdrd.files.safe_open import resolve_inside

ECCV = (
    "eccv_image_to_caption.json",
    "eccv_caption_to_image.json",
    "original_image_to_caption.json",
)
"""Relevant captions of query images, relevant images of query captions, and the gallery."""


class Choice(msgspec.Struct, frozen=True):
    """A row of SugarCrepe or SugarCrepe++: an image with one or two right captions and a wrong one."""

    filename: str
    caption: str
    negative_caption: str
    caption2: str = ""

    @property
    def right(self) -> tuple[str, ...]:
        """The right captions."""
        return (self.caption, self.caption2) if self.caption2 else (self.caption,)


@dataclass(frozen=True)
class Choices:
    """One file of SugarCrepe or SugarCrepe++.

    Attributes:
        name: of the file, which names the kind of change, e.g. swap_att.
        rows: in the order of the file.
    """

    name: str
    rows: Sequence[Choice]


@dataclass(frozen=True)
class ManyMatches:
    """ECCV Caption: retrieval in which a query has many relevant items.

    Attributes:
        name: of the folder.
        images: file names of the gallery by COCO's image id.
        captions: of the gallery by COCO's caption id.
        of_image: relevant caption ids of each query image.
        of_caption: relevant image ids of each query caption.
    """

    name: str
    images: Mapping[int, str]
    captions: Mapping[int, str]
    of_image: Mapping[int, Sequence[int]]
    of_caption: Mapping[int, Sequence[int]]


class _CocoImage(msgspec.Struct):
    id: int
    file_name: str


class _CocoCaption(msgspec.Struct):
    id: int
    image_id: int
    caption: str


class _CocoCaptions(msgspec.Struct):
    images: list[_CocoImage]
    annotations: list[_CocoCaption]


def read_composition(
    paths: Sequence[Path], images: Path, captions: Path | None = None
) -> list[Choices | ManyMatches]:
    """Return the content of files and folders; a folder is ECCV Caption, or holds files of SugarCrepe.

    Args:
        paths: files of SugarCrepe or SugarCrepe++, or folders.
        images: folder that must hold the images that the files name.
        captions: COCO's captions file, e.g. captions_val2014.json, for ECCV Caption.

    Raises:
        FdrdError: a file is missing or is none of these, or an image is missing.
    """
    found: list[Choices | ManyMatches] = []
    for path in paths:
        if (path / ECCV[0]).is_file():
            found.append(_many_matches(path, captions))
            continue
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not files:
            raise FdrdError(
                f"{path}: no *.json; give files of SugarCrepe or SugarCrepe++, or a folder with "
                f"{' and '.join(ECCV)}"
            )
        found += map(_choices, files)
    for each in found:
        _check_images(each, images)
    return found


def _check_images(file: Choices | ManyMatches, folder: Path) -> None:
    names = (
        [row.filename for row in file.rows]
        if isinstance(file, Choices)
        else list(file.images.values())
    )
    for name in names:
        try:
            resolve_inside(folder, name)
        except (OSError, ValueError) as error:  # ValueError: a null byte
            reason = getattr(error, "strerror", None) or error
            raise FdrdError(
                f"{file.name}: image {name[:200]!r}: {reason}; give the folder that holds COCO's images with "
                f"--images"
            ) from error


def _choices(file: Path) -> Choices:
    rows = _decoded(file, dict[str, Choice] | list[Choice])
    listed: list[Choice] = list(rows.values()) if isinstance(rows, dict) else rows
    if not listed:
        raise FdrdError(f"{file}: no rows")
    if any(bool(row.caption2) != bool(listed[0].caption2) for row in listed):
        raise FdrdError(f"{file}: caption2 in some rows only; all or none must have it")
    return Choices(file.stem, listed)


def _many_matches(folder: Path, captions: Path | None) -> ManyMatches:
    if captions is None:
        raise FdrdError(
            f"{folder}: ECCV Caption names captions by number; give COCO's captions_val2014.json with "
            f"--captions"
        )
    of_image, of_caption, gallery = (_decoded(folder / name, dict[int, list[int]]) for name in ECCV)
    coco: _CocoCaptions = _decoded(captions, _CocoCaptions)
    texts = {each.id: each.caption for each in coco.annotations}
    files = {each.id: each.file_name for each in coco.images}
    kept = [number for captions_of in gallery.values() for number in captions_of]
    for needed, known, what in (
        ([*gallery], files, "image"),
        (kept, texts, "caption"),
        ([*of_image, *(n for each in of_caption.values() for n in each)], gallery, "image"),
        ([*of_caption, *(n for each in of_image.values() for n in each)], set(kept), "caption"),
    ):
        missing = [number for number in needed if number not in known]
        if missing:
            raise FdrdError(
                f"{folder}: {what} {missing[0]} is not in {captions.name} or not in the gallery "
                f"{ECCV[2]}; {len(missing)} are missing"
            )
    return ManyMatches(
        folder.name,
        {number: files[number] for number in gallery},
        {number: texts[number] for number in kept},
        of_image,
        of_caption,
    )


def _decoded(file: Path, wanted: Any) -> Any:
    try:
        return msgspec.json.decode(file.read_bytes(), type=wanted)
    except OSError as error:
        raise FdrdError(f"{file}: {error.strerror or error}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FdrdError(
            f"{file}: {error}; not a file of SugarCrepe, SugarCrepe++, ECCV Caption or COCO captions"
        ) from error
