"""Flickr8k and Flickr30k: lines `<image>#<number><tab><caption>` in `*.token` or `*.token.txt`.

The lists `*trainImages.txt`, `*devImages.txt` and `*testImages.txt` give the splits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from fdrd.reasons import Rejection
from fdrd.record import Record
from fdrd.sources.reading.image_pairs import ImagePairs
from fdrd.sources.reading.lines import Line, read_lines
from fdrd.sources.reading.source_folder import SourceFolder

_LIST = re.compile(r".*(train|dev|val|test)_?images\.txt", re.IGNORECASE)
_TOKEN = re.compile(r"(?P<image>[^\t]+?)(?:#\d+)?\t(?P<caption>.*)")


def detect(folder: SourceFolder) -> str | None:
    """Return why the folder holds Flickr's captions, or None."""
    for file in _token_files(folder):
        if re.match(rb"(\xef\xbb\xbf)?[^\t\n]+#\d+\t", folder.start(file)):
            return f"{file} has lines <image>#<number><tab><caption>"
    return None


def near_miss(folder: SourceFolder) -> str | None:
    """Return the first token file with other lines."""
    for file in _token_files(folder):
        return f"{file} does not start with <image>#<number><tab><caption>"
    return None


def used_files(folder: SourceFolder) -> list[str]:
    """Return the token files and the lists of images."""
    return _token_files(folder) + _lists(folder)


def read(folder: SourceFolder, require_images: bool = True) -> Iterator[Record | Rejection]:
    """Yield a pair for every line."""
    images = ImagePairs(folder, require_images, public=True)
    split_of: dict[str, str] = {}
    for file in _lists(folder):
        found = _LIST.fullmatch(PurePosixPath(file).name)
        for line in read_lines(folder, file):
            if isinstance(line, Rejection):
                yield line
            elif found:
                split_of[line.fields["text"].strip()] = found[1].lower()
    for file in _token_files(folder):
        for line in read_lines(folder, file):
            if isinstance(line, Rejection):
                yield line
            else:
                yield from _read(line, images, split_of)


def _read(line: Line, images: ImagePairs, split_of: dict[str, str]) -> Iterator[Record | Rejection]:
    found = _TOKEN.fullmatch(line.fields["text"])
    if not found:
        yield line.reject("bad_field", "the line is not <image>#<number><tab><caption>")
        return
    fields = {"caption": found["caption"], "split": split_of.get(found["image"], "")}
    yield from images.read(Line(line.file, line.key, fields), found["image"])


def _token_files(folder: SourceFolder) -> list[str]:
    return [
        path
        for path in folder.files
        if path.endswith((".token", ".token.txt")) and path.count("/") <= 1
    ]


def _lists(folder: SourceFolder) -> list[str]:
    return [
        path
        for path in folder.files
        if path.count("/") <= 1 and _LIST.fullmatch(PurePosixPath(path).name)
    ]
