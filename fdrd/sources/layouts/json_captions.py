"""Captions in JSON: a list of objects, or an object that maps image files to captions.

Lists as BLIP and ALBEF have them (`image`, and `caption` as a string or a list), conversations of LLaVA and
ShareGPT4V (the first answer is the caption), and lists below a key such as `data`. Fields have the names of
`reading.columns`. The files are directly in the folder or in `annotations`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import PurePosixPath

from fdrd.reasons import Rejection
from fdrd.record import Record
from fdrd.sources.reading.columns import find_columns, flaw_of_columns, known_fields
from fdrd.sources.reading.image_pairs import ImagePairs
from fdrd.sources.reading.json_stream import Element, element_line, stream_elements
from fdrd.sources.reading.lines import Line
from fdrd.sources.reading.names import is_image, split_in_name
from fdrd.sources.reading.source_folder import SourceFolder

ORDER = 2  # a general layout

_LISTS = ("data", "annotations", "images", "samples", "captions", "items", "train", "val", "test")


def detect(folder: SourceFolder) -> str | None:
    """Return why the folder holds captions in JSON, or None."""
    for file in used_files(folder):
        element = _first(folder, file)
        if element and isinstance(element.value, dict) and not is_image(element.key):
            columns = find_columns(element.value, folder.options)
            return f"{file} is a list of objects with {columns['image'][0]!r} and {columns['caption'][0]!r}"
        return f"{file} maps images to captions"
    return None


def near_miss(folder: SourceFolder) -> str | None:
    """Return which field the objects of a JSON list lack, and the option that names it."""
    for file in _files(folder):
        element = _first(folder, file)
        if element and isinstance(element.value, dict) and (element.array or element.key == "0"):
            value = element.value
            flaw = flaw_of_columns(
                file, list(value), [value], ("image", "caption"), folder.options, "key"
            )
            if flaw:
                return flaw
    return None


def used_files(folder: SourceFolder) -> list[str]:
    """Return the files with captions."""
    return [file for file in _files(folder) if _fits(folder, file)]


def read(folder: SourceFolder, require_images: bool = True) -> Iterator[Record | Rejection]:
    """Yield the pairs of every element."""
    images = ImagePairs(folder, require_images)
    for file in used_files(folder):
        first = _first(folder, file)
        split = split_in_name(PurePosixPath(file).stem)
        for element in stream_elements(folder, file, _LISTS):
            line = _line(folder, file, element, first)
            if isinstance(line, Rejection):
                yield line
            elif line:
                line.fields.pop("id", None)  # often the number of the image
                yield from images.read(line, line.fields.pop("image", None), split)


def _line(
    folder: SourceFolder, file: str, element: Element | Rejection, first: Element | None
) -> Line | Rejection | None:
    """Return the fields of an element, or None if it is none like the first."""
    if isinstance(element, Rejection) or not first:
        return element if isinstance(element, Rejection) else None
    if not first.array and is_image(first.key):
        caption = element.value
        fields = {"caption": caption}
        if isinstance(caption, dict):
            fields |= known_fields(caption, folder.options)
        return Line(file, element.key[:200], {**fields, "image": element.key})
    if element.array != first.array:
        return None
    line = element_line(file, element)
    if isinstance(line, Rejection):
        return line
    split = {"split": element.array} if element.array in ("train", "val", "test") else {}
    return Line(file, line.key, {**split, **known_fields(line.fields, folder.options)})


def _files(folder: SourceFolder) -> list[str]:
    return [
        path
        for path in folder.files
        if path.endswith(".json")
        and ("/" not in path or path.startswith("annotations/"))
        and not path.endswith("_stats.json")
    ]


def _first(folder: SourceFolder, file: str) -> Element | None:
    """Return the first element that is one of a list, or the first of a root object."""
    root = None
    for element in islice(stream_elements(folder, file, _LISTS), 8):
        if isinstance(element, Rejection):
            return root
        if element.array or element.key == "0":
            return element
        if is_image(element.key):
            return element
        root = root or element
    return root


def _fits(folder: SourceFolder, file: str) -> bool:
    element = _first(folder, file)
    if element is None:
        return False
    if not element.array and is_image(element.key):
        if isinstance(element.value, dict):
            return "caption" in find_columns(element.value, folder.options)
        return isinstance(element.value, str | list)
    listed = element.array or element.key == "0"
    if not listed or not isinstance(element.value, dict):
        return False
    return {"image", "caption"} <= find_columns(element.value, folder.options).keys()
