"""Captions in JSON: a list of objects, or an object that maps image files to captions.

Lists as BLIP and ALBEF have them (`image`, and `caption` as a string or a list), conversations of LLaVA and
ShareGPT4V (the first answer is the caption), and lists below a key such as `data`. Fields have the names of
`reading.columns`. The files are directly in the folder or in `annotations`.
"""

from itertools import islice
from pathlib import PurePosixPath

from fdrd.reasons import Rejection
from fdrd.sources.reading.columns import find_columns, flaw_of_columns, known_fields
from fdrd.sources.reading.image_search import ImageIndex
from fdrd.sources.reading.lines import Element, Line, each_line, stream_elements
from fdrd.sources.reading.names import is_image, split_in_name
from fdrd.sources.reading.pairs import Pairs
from fdrd.sources.reading.source_folder import SourceFolder

ORDER = 2  # a general layout

_LISTS = ("data", "annotations", "images", "samples", "captions", "items", "train", "val", "test")


def detect(folder: SourceFolder) -> str | None:
    for file in used_files(folder):
        element = _first(folder, file)
        if element and isinstance(element.value, dict) and not is_image(element.name):
            columns = find_columns(element.value, folder.options)
            return f"{file} is a list of objects with {columns['image'][0]!r} and {columns['caption'][0]!r}"
        return f"{file} maps images to captions"
    return None


def near_miss(folder: SourceFolder) -> str | None:
    for file in _files(folder):
        element = _first(folder, file)
        if element and isinstance(element.value, dict) and _is_listed(element):
            rows, fields = [element.value], ("image", "caption")
            if flaw := flaw_of_columns(file, list(rows[0]), rows, fields, folder.options, "key"):
                return flaw
    return None


def used_files(folder: SourceFolder) -> list[str]:
    return [file for file in _files(folder) if _fits(folder, file)]


def read(folder: SourceFolder, require_images: bool = True) -> Pairs:
    images = ImageIndex(folder, require_images)
    for file in used_files(folder):
        yield from _read_file(folder, file, images)


def _read_file(folder: SourceFolder, file: str, images: ImageIndex) -> Pairs:
    first, split = _first(folder, file), split_in_name(PurePosixPath(file).stem)

    def pairs(element: Element) -> Pairs:
        if line := _line(folder, element, first):
            line.fields.pop("id", None)  # often the number of the image
            yield from images.pairs_of(line, line.fields.pop("image", None), split)

    return each_line(stream_elements(folder, file, _LISTS), pairs)


def _line(folder: SourceFolder, element: Element, first: Element | None) -> Line | None:
    """Return the fields of an element, or None if it is none like the first."""
    if not first:
        return None
    if not first.array and is_image(first.name):
        fields = {"caption": element.value}
        if isinstance(element.value, dict):
            fields |= known_fields(element.value, folder.options)
        return Line(element.file, element.key, {**fields, "image": element.name})
    if element.array != first.array:
        return None
    fields = known_fields(element.object().fields, folder.options)
    split = {"split": element.array} if element.array in ("train", "val", "test") else {}
    return Line(element.file, element.key, {**split, **fields})


def _files(folder: SourceFolder) -> list[str]:
    files = [path for path in folder.files if "/" not in path or path.startswith("annotations/")]
    return [path for path in files if path.endswith(".json") and not path.endswith("_stats.json")]


def _first(folder: SourceFolder, file: str) -> Element | None:
    """Return the first element that is one of a list, or the first of a root object."""
    root = None
    for element in islice(stream_elements(folder, file, _LISTS), 8):
        if isinstance(element, Rejection):
            return root
        if _is_listed(element) or is_image(element.name):
            return element
        root = root or element
    return root


def _is_listed(element: Element) -> bool:
    return bool(element.array) or element.name == "0"


def _fits(folder: SourceFolder, file: str) -> bool:
    element = _first(folder, file)
    if element is None:
        return False
    is_object = isinstance(element.value, dict)
    columns = find_columns(element.value, folder.options) if is_object else {}
    if not element.array and is_image(element.name):
        return "caption" in columns if is_object else isinstance(element.value, str | list)
    return _is_listed(element) and {"image", "caption"} <= columns.keys()
