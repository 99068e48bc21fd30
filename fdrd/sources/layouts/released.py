"""The authors' layout: JSON files that map a key to {file_name, file_path, class_name?, positive, negative}.

`fdrd caption` writes it too, with `meta_category`, `group` and `license` where the source has them.
The published files name paths of another machine, differ in their fields, and join folder and file into
one name. What is mended, and by which rule, is counted (`fdrd.reasons.RULES`); nothing outside the source
root is ever opened.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from fdrd.reasons import Rejection
from fdrd.record import ImageRef, Negative, Record, Source, Split
from fdrd.sources.reading.annotation_files import (
    MAX_CAPTION,
    MAX_NAME,
    clip_group,
    read_annotations,
    split_in_name,
    start_of,
)
from fdrd.sources.reading.places import Images, index_images, locate, stem
from fdrd.text.normalize import normalize_caption, normalize_category, normalize_described

_KEY = re.compile(r"^(?P<category>.+?)_(?:image_)?\d+$")  # "Sphynx_43", "monkshood_image_06422"


def detect(root: Path) -> str | None:
    """Why the folder holds the authors' JSON, or None."""
    for name in _files(root):
        if b'"positive"' in start_of(root, name):
            return f'{name} maps keys to objects with "positive" captions'
    return None


def near(root: Path) -> str | None:
    """JSON at the root that holds no captions."""
    for name in _files(root):
        return f'{name} has no "positive" in its first 64 KiB, as the authors\' captions do'
    return None


def read(root: Path, pictures: bool = True) -> Iterator[Record | Rejection]:
    """The pairs of every JSON file at the root of the folder."""
    images = index_images(root)
    for file in _files(root):
        raw = read_annotations(root, file)
        if isinstance(raw, Rejection):
            yield raw
            continue
        try:
            pairs = json.loads(raw, object_pairs_hook=_Pairs)
        except (ValueError, RecursionError) as error:
            yield Rejection(file, "", "unreadable_annotations", f"not JSON: {error}")
            continue
        if isinstance(pairs, _Pairs) and {key for key, _ in pairs} <= {"train", "val", "test"}:
            continue  # CoOp's split file, which may lie beside the captions: it holds no pairs
        if not isinstance(pairs, _Pairs):
            detail = f"a {type(pairs).__name__} where an object of key: record was expected"
            yield Rejection(file, "", "unreadable_annotations", detail)
            continue
        split = split_in_name(PurePosixPath(file).stem)
        for key, value in pairs:
            yield _record(file, key, value, split, images, pictures)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with its repeated keys, which a dict would lose in silence."""

    def fields(self) -> dict[str, Any]:
        return dict(self)


def _record(
    file: str,
    key: str,
    value: object,
    split: Split,
    images: Images,
    pictures: bool,
) -> Record | Rejection:
    if not isinstance(value, _Pairs):
        return Rejection(file, key, "bad_field", f"the record is a {type(value).__name__}")
    fields = value.fields()
    if len(fields) < len(value):
        return Rejection(file, key, "bad_field", "one of its keys stands there twice")
    caption, negatives = fields.get("positive") or "", fields.get("negative") or []
    name, class_name = fields.get("file_name") or key, fields.get("class_name") or ""
    further = {field: fields.get(field) or "" for field in ("meta_category", "group", "license")}
    named = {"positive": caption, "file_name": name, "class_name": class_name, **further}
    for field, found in named.items():
        if not isinstance(found, str):
            return Rejection(file, key, "bad_field", f'"{field}" is a {type(found).__name__}')
        limit = MAX_CAPTION if field == "positive" else MAX_NAME
        if len(found) > limit:
            return Rejection(file, key, "bad_field", f'"{field}" has over {limit} characters')
    if not isinstance(negatives, list) or not all(
        isinstance(text, str) and len(text) <= MAX_CAPTION for text in negatives
    ):
        detail = f'"negative" is not a list of strings of at most {MAX_CAPTION} characters'
        return Rejection(file, key, "bad_field", detail)

    from_key = _KEY.match(stem(key))
    raw_category = class_name or (from_key["category"] if from_key else "")
    category, category_rules = normalize_category(raw_category)
    if not category:
        return Rejection(
            file, key, "category_missing", 'no "class_name", and the key ends in no number'
        )
    place = locate(name, fields.get("file_path"), raw_category, images, split)
    if isinstance(place, tuple):
        path, path_rules = place
    elif place.reason == "image_missing" and not pictures:
        path, path_rules = name, ()
    else:
        return Rejection(file, key, place.reason, place.detail)
    caption, caption_rules = normalize_described(caption, category)
    folder = normalize_category(PurePosixPath(path).parent.name)[0]
    rules = [*path_rules, *category_rules, *caption_rules]
    if not class_name:
        rules.append("category_from_key")
    elif "folder_joined_to_name" in path_rules and folder != category:
        rules.append("category_differs_from_folder")
    return Record(
        id=key,
        image=ImageRef(path),
        caption=caption,
        category=category,
        source=Source(path, license=further["license"] or "unknown", origin=f"{file}: {key}"),
        meta_category=further["meta_category"],
        group=further["group"] or clip_group(path),
        split=split,
        negatives=tuple(Negative(normalize_caption(text)[0], "", "category") for text in negatives),
        rules=tuple(rules),
    )


def _files(root: Path) -> list[str]:
    """JSON files at the root, but for the names of flowers that Flowers102 brings along."""
    return sorted(path.name for path in root.glob("*.json") if path.name != "cat_to_name.json")
