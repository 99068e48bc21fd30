"""Captions in JSON: a list of objects, or an object that maps image files to captions.

Lists as BLIP and ALBEF have them (`image`, and `caption` as a string or a list), conversations of LLaVA and
ShareGPT4V (the first answer is the caption), and lists below a key such as `data`. Fields have the names of
`reading.columns`. The files are directly in the folder or in `annotations`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import PurePosixPath

from fdrd.reasons import Rejection
from fdrd.record import Record, Split
from fdrd.sources.reading.columns import find_columns, known_fields, suggest_options
from fdrd.sources.reading.image_search import ImageIndex
from fdrd.sources.reading.json_stream import Element, element_line, stream_elements
from fdrd.sources.reading.lines import Line
from fdrd.sources.reading.names import is_image, split_in_name
from fdrd.sources.reading.pairs import pairs
from fdrd.sources.reading.source_folder import SourceFolder

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
            keys = list(element.value)
            columns = find_columns(keys, folder.options)
            missing = [field for field in ("image", "caption") if field not in columns]
            if missing:
                return (
                    f"{file} has no {' or '.join(missing)} key; its keys are {', '.join(keys)[:200]}; "
                    f"name it with {suggest_options([element.value], missing)}"
                )
    return None


def used_files(folder: SourceFolder) -> list[str]:
    """Return the files with captions."""
    return [file for file in _files(folder) if _fits(folder, file)]


def read(folder: SourceFolder, require_images: bool = True) -> Iterator[Record | Rejection]:
    """Yield the pairs of every element."""
    index = ImageIndex(folder, require_images)
    times: Counter[str] = Counter()
    for file in used_files(folder):
        first = _first(folder, file)
        of_file = split_in_name(PurePosixPath(file).stem)
        for element in stream_elements(folder, file, _LISTS):
            if isinstance(element, Rejection):
                yield element
            elif first and not first.array and is_image(first.key):
                caption = element.value
                line = Line(file, element.key[:200], {"image": element.key, "caption": caption})
                if isinstance(caption, dict):
                    line.fields.update(known_fields(caption, folder.options), image=element.key)
                yield from _read(folder, line, index, of_file, times)
            elif first and element.array == first.array:
                found = element_line(file, element)
                if isinstance(found, Line):
                    split = (
                        {"split": element.array}
                        if element.array in ("train", "val", "test")
                        else {}
                    )
                    fields = {**split, **known_fields(found.fields, folder.options)}
                    yield from _read(folder, Line(file, found.key, fields), index, of_file, times)
                else:
                    yield found


def _read(
    folder: SourceFolder, line: Line, index: ImageIndex, split: Split, times: Counter[str]
) -> Iterator[Record | Rejection]:
    path = index.find(line.fields.pop("image", None), line.file)
    if isinstance(path, tuple):
        yield line.reject(*path)
        return
    line.fields.pop("id", None)  # often the number of the image
    times[path] += 1
    id_ = path if times[path] == 1 else f"{path}#{line.file} {line.key}"
    yield from pairs(folder.options, line, folder.image(path), path, split, id_)


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
