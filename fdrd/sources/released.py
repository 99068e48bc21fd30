"""The authors' layout: JSON files that map a key to {file_name, file_path, class_name?, positive, negative}.

`fdrd caption` writes it too, with `meta_category`, `group` and `license` where the source has them.
The published files name paths of another machine, differ in their fields, and join folder and file into
one name. What is mended, and by which rule, is counted (`fdrd.reasons.RULES`); nothing outside the source
root is ever opened.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from fdrd.reasons import Rejection
from fdrd.record import ImageRef, Negative, Record, Source, Split
from fdrd.sources._files import SPLIT_OF_WORD, files_below, is_absolute, is_image, leaves_root
from fdrd.text import normalise_caption, normalise_category, normalise_described

_KEY = re.compile(r"^(?P<category>.+?)_(?:image_)?\d+$")  # "Sphynx_43", "monkshood_image_06422"


def detect(root: Path) -> str | None:
    """Why the folder holds the authors' JSON, or None."""
    for path in sorted(root.glob("*.json")):
        with path.open("rb") as file:
            if b'"positive"' in file.read(65536):
                return f'{path.name} maps keys to objects with "positive" captions'
    return None


def read(root: Path, pictures: bool = True) -> Iterator[Record | Rejection]:
    """The pairs of every JSON file at the root of the folder."""
    images = _index(root)
    for path in sorted(root.glob("*.json")):
        try:
            pairs = json.loads(path.read_bytes(), object_pairs_hook=_Pairs)
        except (ValueError, RecursionError) as error:
            yield Rejection(path.name, "", "unreadable_annotations", f"not JSON: {error}")
            continue
        if isinstance(pairs, _Pairs) and {key for key, _ in pairs} <= {"train", "val", "test"}:
            continue  # CoOp's split file, which may lie beside the captions: it holds no pairs
        if not isinstance(pairs, _Pairs):
            detail = f"a {type(pairs).__name__} where an object of key: record was expected"
            yield Rejection(path.name, "", "unreadable_annotations", detail)
            continue
        split = _split_of(path.stem)
        for key, value in pairs:
            yield _record(path.name, key, value, split, images, pictures)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with its repeated keys, which a dict would lose in silence."""

    def fields(self) -> dict[str, Any]:
        return dict(self)


def _record(
    file: str,
    key: str,
    value: object,
    split: Split,
    images: dict[str, list[str]],
    pictures: bool,
) -> Record | Rejection:
    if not isinstance(value, _Pairs):
        return Rejection(file, key, "bad_field", f"the record is a {type(value).__name__}")
    fields = value.fields()
    caption, negatives = fields.get("positive") or "", fields.get("negative") or []
    name, class_name = fields.get("file_name") or key, fields.get("class_name") or ""
    further = {field: fields.get(field) or "" for field in ("meta_category", "group", "license")}
    named = {"positive": caption, "file_name": name, "class_name": class_name, **further}
    for field, found in named.items():
        if not isinstance(found, str):
            return Rejection(file, key, "bad_field", f'"{field}" is a {type(found).__name__}')
    if not isinstance(negatives, list) or not all(isinstance(text, str) for text in negatives):
        return Rejection(file, key, "bad_field", '"negative" is not a list of strings')

    from_key = _KEY.match(_stem(key))
    raw_category = class_name or (from_key["category"] if from_key else "")
    category, category_rules = normalise_category(raw_category)
    if not category:
        return Rejection(
            file, key, "category_missing", 'no "class_name", and the key ends in no number'
        )
    place = _locate(name, fields.get("file_path"), raw_category, images)
    if isinstance(place, tuple):
        path, path_rules = place
    elif place.reason == "image_missing" and not pictures:
        path, path_rules = name, ()
    else:
        return Rejection(file, key, place.reason, place.detail)
    caption, caption_rules = normalise_described(caption, category)
    folder = normalise_category(PurePosixPath(path).parent.name)[0]
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
        group=further["group"],
        split=split,
        negatives=tuple(Negative(normalise_caption(text)[0], "", "category") for text in negatives),
        rules=tuple(rules),
    )


def _locate(
    name: str, file_path: object, category: str, images: dict[str, list[str]]
) -> tuple[str, tuple[str, ...]] | Rejection:
    """The image that an annotation means, and the rules that found it."""
    rules = []
    given = file_path if isinstance(file_path, str) else ""
    if leaves_root(given) or leaves_root(name) or is_absolute(name):
        return Rejection("", "", "path_outside", f"{name!r}, {given!r}")
    if is_absolute(given):
        rules.append("path_of_another_machine")
    elif given and given in images.get(_stem(given), []):
        return given, ()
    elif given and not is_image(given):
        rules.append("path_placeholder")
    stem = _stem(PurePosixPath(name).name)
    without_category = stem.removeprefix(f"{category}_").removeprefix(
        category.replace(" ", "_") + "_"
    )
    for wanted, joined in ((stem, ""), (without_category, "category_joined_to_name")):
        found = images.get(wanted, [])
        if len(found) > 1 and is_image(name):
            found = [path for path in found if path.endswith(PurePosixPath(name).suffix)]
        if len(found) > 1:
            detail = f"{name!r} could be {', '.join(found[:3])}; give a file_path below the root"
            return Rejection("", "", "image_ambiguous", detail)
        if found:
            path = found[0]
            if not joined and PurePosixPath(path).stem != stem:
                joined = "folder_joined_to_name"
            added = [] if is_image(name) else ["extension_added"]
            return path, (*rules, *([joined] if joined else []), *added)
    return Rejection("", "", "image_missing", f"no image is called {name!r}")


def _index(root: Path) -> dict[str, list[str]]:
    """Paths of images by every name that an annotation may use: stem, folder_stem, folder_folder_stem, path."""
    images: dict[str, list[str]] = defaultdict(list)
    for path in files_below(root):
        if is_image(path):
            parts = _stem(path).split("/")
            names = {"_".join(parts[-depth:]) for depth in range(1, min(3, len(parts)) + 1)}
            for name in names | {_stem(path)}:
                images[name].append(path)
    return images


def _stem(name: str) -> str:
    return name[: name.rindex(".")] if is_image(name) else name


def _split_of(stem: str) -> Split:
    """The split that a file's name ends in.

    >>> _split_of("inter_caltech-101_train"), _split_of("captions")
    ('train', '')
    """
    words = re.split(r"[^a-z]+", stem.lower())
    return next((SPLIT_OF_WORD[word] for word in reversed(words) if word in SPLIT_OF_WORD), "")
