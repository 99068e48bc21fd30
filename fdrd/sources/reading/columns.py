"""Names of the fields of a pair in tables, JSON lines and the JSON of tar archives."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from fdrd.sources.reading.names import DOWNLOAD, is_image, is_url
from fdrd.sources.reading.options import NO_OPTIONS, SourceOptions

COLUMNS: dict[str, tuple[str, ...]] = {
    "image": (
        *("image", "file_name", "filename", "file", "file_path", "filepath", "path"),
        *("image_path", "image_file", "image_bytes", "img", "img_path", "jpg", "png", "webp"),
        *("image_name", "img_name", "image_filename", "photo", "picture"),
    ),
    "caption": (
        *("caption", "captions", "text", "texts", "sentence", "sentences", "description", "title"),
        *("comment", "comments", "raw", "caption_str", "conversations", "conversation", "messages"),
        *("answer", "answers", "alt_text", "alt"),
    ),
    "category": (
        *("category", "class_name", "classname", "class", "label", "label_name", "fine_label"),
        *("species", "breed", "variant"),
    ),
    "meta_category": ("meta_category", "supercategory", "super_category", "coarse_label"),
    "split": ("split",),
    "group": ("group",),
    "license": ("license", "licence"),
    "id": ("id",),
    "attributes": ("attributes",),
    "negatives": ("negatives", "negative", "hard_negatives"),
}
"""Names of each field, the preferred one first. Case, spaces and hyphens do not matter."""

_URLS = ("url", "urls", "image_url", "img_url", "link")
_NUMBERED = re.compile(r"(caption|text|sentence|description|comment)_?\d{1,2}")


def find_columns(
    columns: Iterable[str], options: SourceOptions = NO_OPTIONS
) -> dict[str, tuple[str, ...]]:
    """Return the columns that hold each field: one, or several for captions.

    >>> find_columns(["Image Path", "title", "caption", "price"])
    {'image': ('Image Path',), 'caption': ('caption',)}
    >>> find_columns(["path", "caption_1", "caption_2"])["caption"]
    ('caption_1', 'caption_2')
    """
    by_plain = {_plain(name): name for name in reversed(list(columns))}
    mapped = dict(options.columns)
    found = {}
    for field, known in COLUMNS.items():
        names = map(_plain, mapped.get(field, known))
        wanted = [by_plain[name] for name in names if name in by_plain]
        if field not in mapped:
            wanted = wanted[:1]
            if field == "caption" and not wanted:
                numbered = filter(_NUMBERED.fullmatch, reversed(by_plain))
                wanted = [by_plain[name] for name in numbered]
        if wanted:
            found[field] = tuple(wanted)
    return found


def known_fields(values: Mapping[str, Any], options: SourceOptions = NO_OPTIONS) -> dict[str, Any]:
    """Return the values of an object by field; under `extra` those that belong to no field, by their own names."""
    columns = _columns(tuple(values), options)
    fields = {field: merge([values[name] for name in names]) for field, names in columns.items()}
    used = {name for names in columns.values() for name in names}
    extra = {name: value for name, value in values.items() if name not in used}
    return fields | ({"extra": extra} if extra else {})


@lru_cache(maxsize=1)  # neighboring objects have the same names
def _columns(names: tuple[str, ...], options: SourceOptions) -> dict[str, tuple[str, ...]]:
    return find_columns(names, options)


def merge(values: list[Any]) -> Any:
    """Return the value of a field with one column, or a list of the values of several columns."""
    if len(values) == 1:
        return values[0]
    lists = (value if isinstance(value, list) else [value] for value in values)
    return [value for values in lists for value in values if value not in (None, "")]


def flaw_of_columns(
    file: str,
    names: Sequence[str],
    rows: Iterable[Mapping[str, Any]],
    fields: Iterable[str],
    options: SourceOptions,
    kind: str = "column",
) -> str | None:
    """Return which fields the columns of a file lack, and the option that names them; None if they lack none."""
    found = find_columns(names, options)
    missing = [field for field in fields if field not in found]
    if not missing:
        return None
    flaw = f"{file} has no {' or '.join(missing)} {kind}; its {kind}s are {', '.join(names)[:200]}"
    rows = list(rows)
    with_url = [name for row in rows for name, value in row.items() if is_url(str(value))]
    with_url += [name for name in names if _plain(name) in _URLS]
    if "image" in missing and with_url:
        return f"{flaw}; {with_url[0]} has URLs: {DOWNLOAD}"
    return f"{flaw}; name it with {suggest_options(rows, missing)}"


def suggest_options(rows: Iterable[Mapping[str, Any]], missing: Iterable[str]) -> str:
    """Return the `--map` options that rows need: image names look like images, captions are long.

    >>> suggest_options([{"Bild": "a/1.jpg", "Satz": "A brown wren.", "n": "3"}], ["image", "caption"])
    '--map image=Bild --map caption=Satz'
    >>> suggest_options([{"url": "x"}], ["caption"])
    '--map caption=COLUMN'
    """
    likely: dict[str, Counter[str]] = {"image": Counter(), "caption": Counter()}
    for name, value in (item for row in rows for item in row.items()):
        listed = value if isinstance(value, list) else [value]
        text = max(listed, key=lambda each: len(str(each)), default="")
        if isinstance(text, str) and is_image(text):
            likely["image"][name] += 1
        elif isinstance(text, str) and " " in text.strip():
            likely["caption"][name] += len(text)
    best = {field: counts.most_common(1)[0][0] for field, counts in likely.items() if counts}
    return " ".join(f"--map {field}={best.get(field, 'COLUMN')}" for field in missing)


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())
