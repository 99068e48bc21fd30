"""Names of the fields of a pair in tables, JSON lines and the JSON of tar archives."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

COLUMNS: dict[str, tuple[str, ...]] = {
    "image": (
        *("image", "file_name", "filename", "file", "file_path", "filepath", "path"),
        *("image_path", "image_file", "image_bytes", "img", "img_path", "jpg", "png", "webp"),
    ),
    "caption": (
        "caption",
        "captions",
        "text",
        "texts",
        "sentence",
        "sentences",
        "description",
        "title",
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


def find_columns(names: Iterable[str]) -> dict[str, str]:
    """Return the column that holds each field.

    >>> find_columns(["Image Path", "title", "caption", "price"])
    {'image': 'Image Path', 'caption': 'caption'}
    """
    given = {_plain(name): name for name in reversed(list(names))}
    found = {}
    for field, known in COLUMNS.items():
        column = next((given[name] for name in known if name in given), None)
        if column is not None:
            found[field] = column
    return found


def known_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of an object by field, without those that belong to no field."""
    return {field: values[column] for field, column in find_columns(values).items()}


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())
