"""CUB-200-2011: `images.txt`, `classes.txt`, `image_class_labels.txt`, `train_test_split.txt`.

Captions are the lines of `text_c10/<class>/<image>.txt`, `text/...` or `captions/...`. With these, the lists may be
missing. Without them, the images have no caption, but category and split. The attributes of an image become attribute
spans where its caption names their value.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from msgspec.structs import replace

from fdrd.reasons import Rejection
from fdrd.record import Attribute, Record
from fdrd.sources.reading.image_search import ImageIndex
from fdrd.sources.reading.lines import Line, read_lines
from fdrd.sources.reading.pairs import pairs
from fdrd.sources.reading.source_folder import SourceFolder
from fdrd.text.attributes import find_attributes

_IMAGES, _CLASSES, _CLASS_OF = "images.txt", "classes.txt", "image_class_labels.txt"
_SPLITS = "train_test_split.txt"
_FACTS = (_CLASSES, _CLASS_OF, _SPLITS)
_LABELS = "attributes/image_attribute_labels.txt"
_NAMES = ("attributes/attributes.txt", "attributes.txt")
_TEXTS = ("text_c10", "text", "captions")
_TYPES = {"color": "color", "pattern": "pattern", "shape": "shape", "size": "size"}
_GUESSING = 3  # least certainty of an attribute: probably


def detect(folder: SourceFolder) -> str | None:
    """Return why the folder is CUB, or has captions in a folder of their own; or None."""
    lists = [name for name in _FACTS if name in folder.top]
    if _IMAGES in folder.top and lists:
        return f"{', '.join((_IMAGES, *lists))} are CUB's"
    if any(top in folder.folders for top in _TEXTS) and "images" in folder.folders:
        for path in _images(folder):
            if text := _text_of(folder, path.removeprefix("images/")):
                return f"{text} describes {path}"
    return None


def near_miss(folder: SourceFolder) -> str | None:
    """Return what the folder lacks to be CUB."""
    if _CLASS_OF in folder.top and _IMAGES not in folder.top:
        return f"CUB's {_IMAGES} is missing"
    return None


def used_files(folder: SourceFolder) -> list[str]:
    """Return CUB's lists."""
    return [path for path in (_IMAGES, *_FACTS, _LABELS, *_NAMES) if path in folder]


def _images(folder: SourceFolder) -> list[str]:
    return sorted(path for path in folder.images if path.startswith("images/"))


def _text_of(folder: SourceFolder, image: str) -> str:
    """Return the file with the captions of an image, given below `images`; empty if there is none."""
    name = PurePosixPath(image).with_suffix(".txt")
    return next((f"{top}/{name}" for top in _TEXTS if f"{top}/{name}" in folder), "")


@dataclass(frozen=True, slots=True)
class _Facts:
    """What CUB's lists say, by number of the image."""

    category: dict[str, str]
    split: dict[str, str]
    attributes: dict[str, list[tuple[str, str]]]


def read(folder: SourceFolder, require_images: bool = True) -> Iterator[Record | Rejection]:
    """Yield the pairs of every image in `images.txt`, or in `images` without that list."""
    if _IMAGES not in folder.top:
        for image in _images(folder):
            name = image.removeprefix("images/")
            yield from _read(folder, Line(image, "", {}), image, "", name, _Facts({}, {}, {}))
        return
    index = ImageIndex(folder, require_images)
    names = dict(_rows(folder, _CLASSES))
    facts = _Facts(
        {number: names.get(key, "") for number, key in _rows(folder, _CLASS_OF)},
        {number: "train" if flag == "1" else "test" for number, flag in _rows(folder, _SPLITS)},
        _attributes(folder),
    )
    for line in read_lines(folder, _IMAGES):
        if isinstance(line, Rejection):
            yield line
            continue
        number, _, name = line.fields["text"].partition(" ")
        path = (
            index.find(f"images/{name}")
            if name
            else ("bad_field", "the line is not <number> <path>")
        )
        if isinstance(path, tuple):
            yield line.reject(*path)
        else:
            yield from _read(folder, line, path, number, name, facts)


def _read(
    folder: SourceFolder, line: Line, path: str, number: str, name: str, facts: _Facts
) -> Iterator[Record | Rejection]:
    file = _text_of(folder, name)
    lines = list(read_lines(folder, file)) if file else []
    fields = {"category": facts.category.get(number, ""), "split": facts.split.get(number, "")}
    captions = [
        each for each in lines if isinstance(each, Rejection) or each.fields["text"].strip()
    ]
    for count, found in enumerate(captions or [Line(line.file, line.key, {"text": ""})], 1):
        if isinstance(found, Rejection):
            yield found
            continue
        pair = Line(found.file, found.key, {**fields, "caption": found.fields["text"]})
        id_ = path if count == 1 else f"{path}#{count}"
        for item in pairs(folder.options, pair, folder.image(path), path, name=id_):
            known = facts.attributes.get(number, ()) if isinstance(item, Record) else ()
            yield _with_attributes(item, known) if isinstance(item, Record) and known else item


def _with_attributes(record: Record, known: list[tuple[str, str]] | tuple[()]) -> Record:
    """Return the record with a span for each value that its caption names, and those that fdrd also finds."""
    spans: list[Attribute] = []
    for type_, value in known:
        for found in re.finditer(rf"\b{re.escape(value)}\b", record.caption, re.IGNORECASE):
            spans.append(Attribute(type_, found[0], found.start(), found.end()))
    if not spans:
        return record
    chosen: list[Attribute] = []
    spans.sort(key=lambda span: (span.start - span.end, span.start))  # the longest first
    for span in (*spans, *find_attributes(record.caption, record.category)):
        if all(span.end <= other.start or other.end <= span.start for other in chosen):
            chosen.append(span)
    return replace(record, attributes=tuple(sorted(chosen, key=lambda span: span.start)))


def _attributes(folder: SourceFolder) -> dict[str, list[tuple[str, str]]]:
    """Return type and value of the attributes of each image, of those that have a type in fdrd."""
    file = next((name for name in _NAMES if name in folder), "")
    kinds = {}
    for number, text in _rows(folder, file):
        name, _, value = text.partition("::")
        type_ = _TYPES.get(name.rpartition("_")[2])
        if type_ and value:
            kinds[number] = (type_, re.sub(r"_?\(.*", "", value).replace("_", " "))
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for image, text in _rows(folder, _LABELS):
        number, present, certainty, *_ = [*text.split(), "", "", ""]
        sure = certainty.isdigit() and int(certainty) >= _GUESSING
        if present == "1" and sure and kinds.get(number, "") not in ("", *found[image]):
            found[image].append(kinds[number])
    return found


def _rows(folder: SourceFolder, file: str) -> Iterator[tuple[str, str]]:
    """Yield number and rest of each line; files that are missing have none."""
    for line in read_lines(folder, file) if file in folder else ():
        if isinstance(line, Line):
            number, _, rest = line.fields["text"].strip().partition(" ")
            yield number, rest.strip()
