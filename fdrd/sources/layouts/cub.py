"""CUB-200-2011: `images.txt`, `classes.txt`, `image_class_labels.txt`, `train_test_split.txt`.

Captions are the lines of `text_c10/<class>/<image>.txt`, `text/...` or `captions/...`. With these, the lists may be
missing. Without them, the images have no caption, but category and split. The attributes of an image become attribute
spans where its caption names their value.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath

from msgspec.structs import replace

from fdrd.reasons import Rejection
from fdrd.record import Attribute, Record
from fdrd.sources.reading.image_search import ImageIndex
from fdrd.sources.reading.lines import Line, each_line, read_lines
from fdrd.sources.reading.pairs import Pairs, pairs
from fdrd.sources.reading.source_folder import RejectedError, SourceFolder
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
    lists = [name for name in _FACTS if name in folder.top]
    if _IMAGES in folder.top and lists:
        return f"{', '.join((_IMAGES, *lists))} are CUB's"
    if any(top in folder.folders for top in _TEXTS) and "images" in folder.folders:
        for path in _images(folder):
            if text := _text_of(folder, path.removeprefix("images/")):
                return f"{text} describes {path}"
    return None


def near_miss(folder: SourceFolder) -> str | None:
    if _CLASS_OF in folder.top and _IMAGES not in folder.top:
        return f"CUB's {_IMAGES} is missing"
    return None


def used_files(folder: SourceFolder) -> list[str]:
    return [path for path in (_IMAGES, *_FACTS, _LABELS, *_NAMES) if path in folder]


def _images(folder: SourceFolder) -> list[str]:
    return sorted(path for path in folder.images if path.startswith("images/"))


def _text_of(folder: SourceFolder, image: str) -> str:
    """Return the file with the captions of an image, given below `images`; empty if there is none."""
    name = PurePosixPath(image).with_suffix(".txt")
    return next((f"{top}/{name}" for top in _TEXTS if f"{top}/{name}" in folder), "")


def read(folder: SourceFolder, require_images: bool = True) -> Pairs:
    """Yield the pairs of every image in `images.txt`, or in `images` without that list."""
    if _IMAGES not in folder.top:
        for image in _images(folder):
            yield from _read(folder, Line(image, "", {}), image, image.removeprefix("images/"), [])
        return
    index = ImageIndex(folder, require_images)
    names, classes = dict(_rows(folder, _CLASSES)), dict(_rows(folder, _CLASS_OF))
    flags, attributes = dict(_rows(folder, _SPLITS)), _attributes(folder)

    def pairs_of(line: Line) -> Pairs:
        key, _, name = line.fields["text"].partition(" ")
        if not name:
            raise RejectedError("bad_field", "the line is not <number> <path>")
        category = names.get(classes.get(key, ""), "")
        split = ""
        if key in flags:
            split = "train" if flags[key] == "1" else "test"
        described = Line(line.file, line.key, {"category": category, "split": split})
        path = index.find(f"images/{name}")
        return _read(folder, described, path, name, attributes.get(key, []))

    yield from each_line(read_lines(folder, _IMAGES), pairs_of)


def _read(
    folder: SourceFolder, line: Line, path: str, name: str, known: list[tuple[str, str]]
) -> Pairs:
    """Yield a pair for each line of the text file of an image, or one without a caption."""
    file = _text_of(folder, name)
    captions = list(read_lines(folder, file)) if file else []
    for rank, caption in enumerate(captions or [Line(line.file, line.key, {"text": ""})], 1):
        if isinstance(caption, Rejection):
            yield caption
            continue
        fields = {**line.fields, "caption": caption.fields["text"]}
        pair = Line(caption.file, caption.key, fields)
        id_ = path if rank == 1 else f"{path}#{rank}"
        for found in pairs(folder.options, pair, folder.image(path), path, name=id_):
            yield _with_attributes(found, known) if isinstance(found, Record) and known else found


def _with_attributes(record: Record, known: list[tuple[str, str]]) -> Record:
    """Return the record with a span for each value that its caption names, and those that fdrd also finds."""
    spans = [
        Attribute(type_, found[0], found.start(), found.end())
        for type_, value in known
        for found in re.finditer(rf"\b{re.escape(value)}\b", record.caption, re.IGNORECASE)
    ]
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
    for key, text in _rows(folder, file):
        name, _, value = text.partition("::")
        type_ = _TYPES.get(name.rpartition("_")[2])
        if type_ and value:
            kinds[key] = (type_, re.sub(r"_?\(.*", "", value).replace("_", " "))
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for image, text in _rows(folder, _LABELS):
        key, present, certainty, *_ = [*text.split(), "", "", ""]
        sure = certainty.isdigit() and int(certainty) >= _GUESSING
        if present == "1" and sure and kinds.get(key, "") not in ("", *found[image]):
            found[image].append(kinds[key])
    return found


def _rows(folder: SourceFolder, file: str) -> Iterator[tuple[str, str]]:
    """Yield number and rest of each line; files that are missing have none."""
    for line in read_lines(folder, file) if file in folder else ():
        if isinstance(line, Line):
            key, _, rest = line.fields["text"].strip().partition(" ")
            yield key, rest.strip()
