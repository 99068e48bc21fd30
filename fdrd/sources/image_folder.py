"""The `datasets` convention: [split/]category/image.jpg with captions in metadata.jsonl, metadata.csv or image.txt.

A line of metadata.jsonl is an object, a row of metadata.csv has a header. Fields: `file_name` (below the
folder of the metadata file), `caption` (or `text`; a list makes several pairs), and if wished `id`,
`category` (else the name of the image's folder), `meta_category`, `split` (else from a folder named so),
`group`, `license`, `attributes` [{type, value, start, end}], `negatives` [{caption, category, kind}].
An image without metadata takes the lines of the text file of its name as captions.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from fdrd.reasons import Rejection
from fdrd.record import KINDS, Attribute, ImageRef, Negative, Record, Source, Split
from fdrd.sources._files import SPLIT_OF_WORD, files_below, is_absolute, is_image, leaves_root
from fdrd.text import move_spans, normalise_caption, normalise_category, normalise_described

METADATA = ("metadata.jsonl", "metadata.csv")
_TEXT_FIELDS = ("id", "category", "meta_category", "group", "split", "license")


def detect(root: Path) -> str | None:
    """Why the folder is an image folder, or None. Deeper trees are folders of domains."""
    for path in files_below(root):
        *folders, name = path.split("/")
        if folders and folders[0].lower() in SPLIT_OF_WORD:
            del folders[0]
        if name in METADATA and not folders:
            return f"{path} describes images"
        if is_image(path) and len(folders) == 1:
            return f"images lie in folders of categories, as {path}"
    return None


def read(root: Path, pictures: bool = True) -> Iterator[Record | Rejection]:
    """The pairs of every metadata file, then those of images with a text file, then images without a caption."""
    paths = list(files_below(root))
    described = {path for path in paths if PurePosixPath(path).name in METADATA}
    images = {path for path in paths if is_image(path)}
    captions_of: Counter[str] = Counter()
    for path in sorted(described):
        for found in _read_metadata(root, path, images if pictures else None):
            if isinstance(found, Record) and found.caption:
                captions_of[found.image.path] += 1
            yield _with_id(found, captions_of)
    texts = set(paths) - described
    for path in sorted(images - captions_of.keys()):
        yield from (_with_id(found, captions_of) for found in _read_text(root, path, texts))
        captions_of[path] += 1
    if not described:
        for path in sorted(path for path in paths if path.endswith(".json") and "/" not in path):
            detail = "not in the authors' layout, and no metadata.jsonl or metadata.csv beside it"
            yield Rejection(path, "", "unreadable_annotations", detail)


@dataclass(frozen=True, slots=True)
class _Line:
    """One row of a metadata file: where it stands, and what it says."""

    file: str
    key: str
    fields: dict[str, Any]

    def reject(self, reason: str, detail: str) -> Rejection:
        return Rejection(self.file, self.key, reason, detail)


def _with_id(found: Record | Rejection, captions_of: Counter[str]) -> Record | Rejection:
    """The record with the image's path as its id, numbered from the second caption on, unless it has one."""
    if isinstance(found, Rejection) or found.id:
        return found
    path, number = found.image.path, captions_of[found.image.path]
    return replace(found, id=path if number < 2 else f"{path}#{number}")


def _read_metadata(root: Path, file: str, images: set[str] | None) -> Iterator[Record | Rejection]:
    lines = _read_jsonl if file.endswith(".jsonl") else _read_csv
    for line in lines(root, file):
        if isinstance(line, Rejection):
            yield line
        else:
            yield from _pairs(line, images)


def _read_jsonl(root: Path, file: str) -> Iterator[_Line | Rejection]:
    with (root / file).open("rb") as lines:
        for number, raw in enumerate(lines, 1):
            key = f"line {number}"
            if not raw.strip():
                continue
            try:
                fields = json.loads(raw.decode("utf-8-sig" if number == 1 else "utf-8"))
            except (ValueError, RecursionError) as error:
                yield Rejection(file, key, "unreadable_annotations", f"not JSON: {error}")
                continue
            if isinstance(fields, dict):
                yield _Line(file, key, fields)
            else:
                yield Rejection(file, key, "bad_field", f"a {type(fields).__name__}, not an object")


def _read_csv(root: Path, file: str) -> Iterator[_Line | Rejection]:
    try:
        text = (root / file).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        yield Rejection(file, "", "unreadable_annotations", f"not UTF-8: {error}")
        return
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            yield Rejection(file, f"line {rows.line_num}", "unreadable_annotations", str(error))
            continue
        if row is None:
            return
        fields = {name: value for name, value in row.items() if name and value}
        yield _Line(file, f"line {rows.line_num}", fields)


def _pairs(line: _Line, images: set[str] | None) -> Iterator[Record | Rejection]:
    """The pairs of one line: one for each of its captions. `images` are those that are there, if that counts."""
    name = line.fields.get("file_name")
    if not isinstance(name, str) or not name:
        yield line.reject("bad_field", '"file_name" is missing or not a string')
        return
    if is_absolute(name) or leaves_root(name):
        yield line.reject("path_outside", name)
        return
    path = (PurePosixPath(line.file).parent / name).as_posix()
    if images is not None and path not in images:
        yield line.reject("image_missing", f"{path} is not there, or has no ending of an image")
        return
    for field in _TEXT_FIELDS:
        value = line.fields.get(field)
        if value is not None and not isinstance(value, str | int):
            yield line.reject("bad_field", f'"{field}" is a {type(value).__name__}, not a string')
            return
    captions = line.fields.get("caption", line.fields.get("text"))
    for caption in (captions or [None]) if isinstance(captions, list) else [captions]:
        yield _record(line, path, caption)


def _read_text(root: Path, path: str, texts: set[str]) -> Iterator[Record | Rejection]:
    text = PurePosixPath(path).with_suffix(".txt").as_posix()
    if text not in texts:
        yield _record(_Line(path, "", {}), path, None)
        return
    try:
        captions = (root / text).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        yield Rejection(text, "", "unreadable_annotations", f"not UTF-8: {error}")
        return
    captions = [caption for caption in captions if caption.strip()]
    for number, caption in enumerate(captions or [""], 1):
        found = _record(_Line(text, f"line {number}", {}), path, caption)
        if isinstance(found, Record):
            found = replace(found, id=path if number == 1 else f"{path}#{number}")
        yield found


def _record(line: _Line, path: str, raw_caption: object) -> Record | Rejection:
    if raw_caption is None:
        raw_caption = ""
    if not isinstance(raw_caption, str):
        return line.reject("bad_field", f'"caption" is a {type(raw_caption).__name__}')
    fields = {name: str(line.fields.get(name) or "") for name in _TEXT_FIELDS}
    folders = PurePosixPath(path).parts[:-1]
    category, category_rules = normalise_category(fields["category"] or _category_folder(folders))
    if not category:
        return line.reject("category_missing", f"{path} lies in no folder of a category")
    split = _split(fields["split"], folders)
    if split is None:
        known = ", ".join(sorted(SPLIT_OF_WORD))
        return line.reject("bad_field", f'"split" is {fields["split"]!r}; known are {known}')
    caption, caption_rules = normalise_described(raw_caption, category)
    try:
        attributes = _attributes(line.fields.get("attributes") or [], raw_caption)
        negatives = _negatives(line.fields.get("negatives") or [])
    except (TypeError, KeyError, ValueError) as error:
        return line.reject("bad_field", f"attributes or negatives: {error}")
    return Record(
        id=fields["id"],
        image=ImageRef(path),
        caption=caption,
        category=category,
        source=Source(
            path, license=fields["license"] or "unknown", origin=f"{line.file}: {line.key}"
        ),
        meta_category=fields["meta_category"],
        group=fields["group"],
        split=split,
        attributes=move_spans(attributes, raw_caption, caption),
        negatives=negatives,
        rules=(*category_rules, *caption_rules),
    )


def _category_folder(folders: tuple[str, ...]) -> str:
    return folders[-1] if folders and folders[-1].lower() not in SPLIT_OF_WORD else ""


def _split(given: str, folders: tuple[str, ...]) -> Split | None:
    if given:
        return SPLIT_OF_WORD.get(given.lower())
    return next(
        (SPLIT_OF_WORD[name.lower()] for name in folders if name.lower() in SPLIT_OF_WORD), ""
    )


def _attributes(values: list[dict[str, Any]], caption: str) -> tuple[Attribute, ...]:
    attributes = tuple(
        Attribute(str(value["type"]), str(value["value"]), int(value["start"]), int(value["end"]))
        for value in values
    )
    for attribute in attributes:
        found = caption[attribute.start : attribute.end]
        if attribute.start < 0 or found != attribute.value or not found:
            raise ValueError(
                f"{attribute.value!r} is not at {attribute.start}:{attribute.end}, where {found!r} stands"
            )
    return attributes


def _negatives(values: list[str | dict[str, Any]]) -> tuple[Negative, ...]:
    return tuple(
        _negative({"caption": value} if isinstance(value, str) else value) for value in values
    )


def _negative(fields: dict[str, Any]) -> Negative:
    kind = fields.get("kind", "category")
    if kind not in KINDS:
        raise ValueError(f"the kind of a negative is {' or '.join(KINDS)}, not {kind!r}")
    return Negative(
        caption=normalise_caption(str(fields["caption"]))[0],
        category=normalise_category(str(fields.get("category") or ""))[0],
        kind=kind,
        attribute_type=fields.get("attribute_type") or None,
    )
