"""Flickr8k and Flickr30k: lines `<image>#<number><tab><caption>` in `*.token` or `*.token.txt`.

The lists `*trainImages.txt`, `*devImages.txt` and `*testImages.txt` give the splits.
"""

import re
from pathlib import PurePosixPath

from fdrd.reasons import Rejection
from fdrd.sources.reading.image_search import ImageIndex
from fdrd.sources.reading.lines import Line, each_line, read_lines
from fdrd.sources.reading.pairs import Pairs
from fdrd.sources.reading.source_folder import RejectedError, SourceFolder

_LIST = re.compile(r".*(train|dev|val|test)_?images\.txt", re.IGNORECASE)
_TOKEN = re.compile(r"(?P<image>[^\t]+?)(?:#\d+)?\t(?P<caption>.*)")


def detect(folder: SourceFolder) -> str | None:
    for file in _token_files(folder):
        if re.match(rb"(\xef\xbb\xbf)?[^\t\n]+#\d+\t", folder.start(file)):
            return f"{file} has lines <image>#<number><tab><caption>"
    return None


def near_miss(folder: SourceFolder) -> str | None:
    for file in _token_files(folder):
        return f"{file} does not start with <image>#<number><tab><caption>"
    return None


def used_files(folder: SourceFolder) -> list[str]:
    return [*_token_files(folder), *_lists(folder)]


def read(folder: SourceFolder, require_images: bool = True) -> Pairs:
    images = ImageIndex(folder, require_images, public=True)
    split_of: dict[str, str] = {}
    for file, split in _lists(folder).items():
        for line in read_lines(folder, file):
            if isinstance(line, Rejection):
                yield line
            else:
                split_of[line.fields["text"].strip()] = split

    def pairs(line: Line) -> Pairs:
        found = _TOKEN.fullmatch(line.fields["text"])
        if not found:
            raise RejectedError("bad_field", "the line is not <image>#<number><tab><caption>")
        fields = {"caption": found["caption"], "split": split_of.get(found["image"], "")}
        yield from images.pairs_of(Line(line.file, line.key, fields), found["image"])

    for file in _token_files(folder):
        yield from each_line(read_lines(folder, file), pairs)


def _token_files(folder: SourceFolder) -> list[str]:
    return folder.upper_files(".token", ".token.txt")


def _lists(folder: SourceFolder) -> dict[str, str]:
    """Return the lists of images with their splits."""
    files = folder.upper_files("")
    found = ((path, _LIST.fullmatch(PurePosixPath(path).name)) for path in files)
    return {path: list_[1].lower() for path, list_ in found if list_}
