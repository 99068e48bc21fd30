"""COCO captions: `annotations/captions_<split>.json` with lists of images and of annotations.

The split is in the name of the file. If `instances_<split>.json` is next to it, the category of an image is
that of the objects with the largest area in it, and the meta-category their supercategory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from fdrd.reasons import Rejection
from fdrd.record import Record
from fdrd.sources.reading.image_pairs import ImagePairs
from fdrd.sources.reading.json_stream import Element, element_line, stream_elements
from fdrd.sources.reading.lines import Line
from fdrd.sources.reading.names import split_in_name
from fdrd.sources.reading.pairs import exported_fields, unknown_fields
from fdrd.sources.reading.source_folder import SourceFolder

_OTHERS = ("instances", "person_keypoints", "panoptic", "stuff", "image_info")

_IMAGE = ("id", "file_name", "width", "height", "license")  # `license` is a number
_ANNOTATION = ("id", "image_id", "caption")


def detect(folder: SourceFolder) -> str | None:
    """Return why the folder holds COCO captions, or None."""
    for file in used_files(folder):
        return f'{file} has lists of "images" and of "annotations" with captions'
    return None


def near_miss(folder: SourceFolder) -> str | None:
    """Return the first COCO file without captions."""
    for file in _candidates(folder, _OTHERS):
        return f"{file} has no captions; add captions_*.json next to it"
    return None


def used_files(folder: SourceFolder) -> list[str]:
    """Return the files with captions."""
    return [file for file in _candidates(folder) if _has_captions(folder, file)]


def read(folder: SourceFolder, require_images: bool = True) -> Iterator[Record | Rejection]:
    """Yield a pair for every annotation, then the images that have none."""
    images = ImagePairs(folder, require_images, public=True)
    for file in used_files(folder):
        yield from _read_file(folder, file, images)


def _read_file(folder: SourceFolder, file: str, images: ImagePairs) -> Iterator[Record | Rejection]:
    split = split_in_name(PurePosixPath(file).stem)
    names: dict[Any, object] = {}
    extra: dict[Any, dict[str, Any]] = {}
    for element in stream_elements(folder, file, ("images", "annotations")):
        if not isinstance(element, Rejection) and element.array == "annotations" and names:
            break  # the images come first
        line = _line(file, element, "images")
        if isinstance(line, Line):
            known = line.fields.get("id")
            if not isinstance(known, int | str):
                yield line.reject("bad_field", '"id" of the image is missing or not a number')
            elif known in names:
                yield line.reject("duplicate_id", f"another image has the id {known}"[:200])
            else:
                names[known] = line.fields.get("file_name")
                extra[known] = unknown_fields(line.fields, _IMAGE)
        elif line and not isinstance(element, Rejection):  # what ends the file is reported below
            yield line
    categories = _categories(folder, file)
    described = set()
    for element in stream_elements(folder, file, ("annotations",), skip=("images",)):
        line = _line(file, element, "annotations")
        if isinstance(line, Rejection):
            yield line
        elif line:
            image = line.fields.get("image_id")
            if not isinstance(image, int | str) or image not in names:
                yield line.reject("image_missing", f"no image has the id {image!r}"[:200])
                continue
            described.add(image)
            fields = {**exported_fields(line.fields), **categories.get(image, {})}
            fields["caption"] = line.fields.get("caption")
            fields["extra"] = {**extra[image], **unknown_fields(line.fields, _ANNOTATION)}
            yield from images.read(Line(file, line.key, fields), names[image], split)
    for image in names:
        if image not in described:
            fields = {**categories.get(image, {}), "extra": extra[image]}
            line = Line(file, f"image {image}"[:200], fields)
            yield from images.read(line, names[image], split)


def _line(file: str, element: Element | Rejection, array: str) -> Line | Rejection | None:
    if isinstance(element, Rejection):
        return element
    return element_line(file, element) if element.array == array else None


def _categories(folder: SourceFolder, captions: str) -> dict[Any, dict[str, str]]:
    """Return category and meta-category by image."""
    path = PurePosixPath(captions)
    file = path.with_name(path.name.replace("captions", "instances", 1)).as_posix()
    options = folder.options
    if file == captions or file not in folder or options.category or options.category_from:
        return {}
    names: dict[Any, dict[str, str]] = {}
    areas: dict[Any, dict[Any, float]] = defaultdict(dict)
    for element in stream_elements(folder, file, ("categories", "annotations"), skip=("images",)):
        match _line(file, element, getattr(element, "array", "")):
            case Line(fields={"id": int(key), "name": str(name), **rest}) if "image_id" not in rest:
                names[key] = {
                    "category": name,
                    "meta_category": str(rest.get("supercategory") or ""),
                }
            case Line(
                fields={"image_id": image, "category_id": int(key), "area": int() | float() as area}
            ):
                if isinstance(image, int | str):
                    areas[image][key] = areas[image].get(key, 0.0) + area
    largest = {
        image: max(sorted(found), key=lambda key: found[key]) for image, found in areas.items()
    }
    return {image: names[key] for image, key in largest.items() if key in names}


def _candidates(folder: SourceFolder, prefixes: tuple[str, ...] = ()) -> list[str]:
    return [
        path
        for path in folder.files
        if path.endswith(".json")
        and path.count("/") <= 1
        and PurePosixPath(path).name.startswith(_OTHERS) == bool(prefixes)
        and (path.count("/") == 0 or path.startswith("annotations"))
        and (prefixes == () or b'"images"' in folder.start(path))
    ]


def _has_captions(folder: SourceFolder, file: str) -> bool:
    """Return whether the first annotation has a caption; a name like COCO's is enough."""
    start = folder.start(file)
    if b'"images"' not in start and b'"annotations"' not in start:
        return False
    if b'"sentences"' in start or not start.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{"):
        return False
    if PurePosixPath(file).name.startswith("captions"):
        return True
    for element in stream_elements(folder, file, ("annotations",), skip=("images",)):
        if isinstance(element, Element) and element.array == "annotations":
            return (
                isinstance(element.value, dict) and {"caption", "image_id"} <= element.value.keys()
            )
    return False
