"""COCO captions: `annotations/captions_<split>.json` with lists of images and of annotations.

The split is in the name of the file. If `instances_<split>.json` is next to it, the category of an image is
that of the objects with the largest area in it, and the meta-category their supercategory.
"""

from collections import defaultdict
from operator import itemgetter
from pathlib import PurePosixPath
from typing import Any

from fdrd.reasons import Rejection
from fdrd.sources.reading.image_search import ImageIndex
from fdrd.sources.reading.lines import Element, Line, each_line, stream_elements
from fdrd.sources.reading.names import split_in_name
from fdrd.sources.reading.pairs import Pairs, exported_fields, unknown_fields
from fdrd.sources.reading.source_folder import RejectedError, SourceFolder

_OTHERS = ("instances", "person_keypoints", "panoptic", "stuff", "image_info")
_IMAGE = ("id", "file_name", "width", "height", "license")  # `license` is a number
_ANNOTATION = ("id", "image_id", "caption")


def detect(folder: SourceFolder) -> str | None:
    for file in used_files(folder):
        return f'{file} has lists of "images" and of "annotations" with captions'
    return None


def near_miss(folder: SourceFolder) -> str | None:
    for file in _files(folder):
        if PurePosixPath(file).name.startswith(_OTHERS) and b'"images"' in folder.start(file):
            return f"{file} has no captions; add captions_*.json next to it"
    return None


def used_files(folder: SourceFolder) -> list[str]:
    files = (file for file in _files(folder) if not PurePosixPath(file).name.startswith(_OTHERS))
    return [file for file in files if _has_captions(folder, file)]


def read(folder: SourceFolder, require_images: bool = True) -> Pairs:
    images = ImageIndex(folder, require_images, public=True)
    for file in used_files(folder):
        yield from _read_file(folder, file, images)


def _read_file(folder: SourceFolder, file: str, images: ImageIndex) -> Pairs:
    """Yield a pair for every annotation, then the images that have none."""
    split = split_in_name(PurePosixPath(file).stem)
    names: dict[Any, object] = {}
    extra: dict[Any, dict[str, Any]] = {}

    def remember(element: Element) -> tuple[()]:
        fields = element.object().fields
        key = fields.get("id")
        if not isinstance(key, int | str):
            raise RejectedError("bad_field", '"id" of the image is missing or not a number')
        if key in names:
            raise RejectedError("duplicate_id", f"another image has the id {key}"[:200])
        names[key] = fields.get("file_name")
        extra[key] = unknown_fields(fields, _IMAGE)
        return ()

    for element in stream_elements(folder, file, ("images", "annotations")):
        if isinstance(element, Rejection):  # what ends the file is reported below
            continue
        if element.array == "annotations" and names:
            break  # the images come first
        if element.array == "images":
            yield from each_line([element], remember)
    categories = _categories(folder, file)
    described = set()

    def pairs(element: Element) -> Pairs:
        if element.array != "annotations":
            return
        line = element.object()
        image = line.fields.get("image_id")
        if not isinstance(image, int | str) or image not in names:
            raise RejectedError("image_missing", f"no image has the id {image!r}"[:200])
        described.add(image)
        fields = {**exported_fields(line.fields), **categories.get(image, {})}
        fields["caption"] = line.fields.get("caption")
        fields["extra"] = {**extra[image], **unknown_fields(line.fields, _ANNOTATION)}
        yield from images.pairs_of(Line(file, line.key, fields), names[image], split)

    elements = stream_elements(folder, file, ("annotations",), skip=("images",))
    yield from each_line(elements, pairs)

    def bare(image: Any) -> Line:
        fields = {**categories.get(image, {}), "extra": extra[image], "image": names[image]}
        return Line(file, f"image {image}"[:200], fields)

    rest = (bare(image) for image in names if image not in described)
    yield from each_line(rest, lambda line: images.pairs_of(line, line.fields["image"], split))


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
        if not isinstance(element, Element):
            continue
        match element.value:
            case {"image_id": int() | str() as image, **rest}:
                match rest:
                    case {"category_id": int(key), "area": int() | float() as area}:
                        areas[image][key] = areas[image].get(key, 0.0) + area
            case {"id": int(key), "name": str(name), **rest} if "image_id" not in rest:
                meta_category = str(rest.get("supercategory") or "")
                names[key] = {"category": name, "meta_category": meta_category}
    largest = {
        image: max(sorted(sums.items()), key=itemgetter(1))[0] for image, sums in areas.items()
    }
    return {image: names[key] for image, key in largest.items() if key in names}


def _files(folder: SourceFolder) -> list[str]:
    """Return the JSON files in the folder and in folders of annotations."""
    files = folder.upper_files(".json")
    return [path for path in files if "/" not in path or path.startswith("annotations")]


def _has_captions(folder: SourceFolder, file: str) -> bool:
    """Return whether the first annotation has a caption; a name like COCO's is enough."""
    start = folder.start(file)
    has_lists = b'"images"' in start or b'"annotations"' in start
    is_object = start.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{")
    if not has_lists or not is_object or b'"sentences"' in start:
        return False
    if PurePosixPath(file).name.startswith("captions"):
        return True
    for element in stream_elements(folder, file, ("annotations",), skip=("images",)):
        if isinstance(element, Element) and element.array == "annotations":
            return isinstance(element.value, dict) and {"caption", "image_id"} <= {*element.value}
    return False
