"""CUB-200-2011: `images.txt`, `classes.txt`, `image_class_labels.txt`, `train_test_split.txt`.

Captions are the lines of `text_c10/<class>/<image>.txt` or `text/...`. The attributes of an image become
attribute spans where its caption names their value.
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

_LISTS = ("images.txt", "classes.txt", "image_class_labels.txt")
_SPLITS = "train_test_split.txt"
_LABELS = "attributes/image_attribute_labels.txt"
_NAMES = ("attributes/attributes.txt", "attributes.txt")
_TEXTS = ("text_c10", "text")
_TYPES = {"color": "color", "pattern": "pattern", "shape": "shape", "size": "size"}
_GUESSING = 3  # least certainty of an attribute: probably


def detect(folder: SourceFolder) -> str | None:
    """Return why the folder is CUB with captions, or None."""
    if not set(_LISTS) <= set(folder.top):
        return None
    text = next(
        (path for path in folder.files if path.startswith(tuple(f"{t}/" for t in _TEXTS))), None
    )
    return f"{', '.join(_LISTS)} are CUB's, and {text} has captions" if text else None


def near_miss(folder: SourceFolder) -> str | None:
    """Return what the folder lacks to be CUB."""
    missing = [name for name in _LISTS if name not in folder.top]
    if not missing:
        return "CUB's lists are there without captions; add text_c10/<class>/<image>.txt"
    if "image_class_labels.txt" in folder.top:
        return f"CUB's {', '.join(missing)} is missing"
    return None


def used_files(folder: SourceFolder) -> list[str]:
    """Return CUB's lists."""
    return [path for path in (*_LISTS, _SPLITS, _LABELS, *_NAMES) if path in folder]


@dataclass(frozen=True, slots=True)
class _Facts:
    """What CUB's lists say, by number of the image."""

    category: dict[str, str]
    split: dict[str, str]
    attributes: dict[str, list[tuple[str, str]]]


def read(folder: SourceFolder, require_images: bool = True) -> Iterator[Record | Rejection]:
    """Yield the pairs of every image in `images.txt`."""
    index = ImageIndex(folder, require_images)
    names = dict(_rows(folder, "classes.txt"))
    facts = _Facts(
        {number: names.get(key, "") for number, key in _rows(folder, "image_class_labels.txt")},
        {number: "train" if flag == "1" else "test" for number, flag in _rows(folder, _SPLITS)},
        _attributes(folder),
    )
    for line in read_lines(folder, "images.txt"):
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
    text = PurePosixPath(name).with_suffix(".txt")
    file = next((f"{top}/{text}" for top in _TEXTS if f"{top}/{text}" in folder), "")
    lines = list(read_lines(folder, file)) if file else []
    category = re.sub(r"^\d+\.", "", facts.category.get(number, ""))
    fields = {"category": category, "split": facts.split.get(number, "")}
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
