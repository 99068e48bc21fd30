"""The `datasets` convention: [split/]category/image.jpg with captions in metadata.jsonl, metadata.csv or image.txt.

A line of metadata.jsonl is an object, a row of metadata.csv has a header. `file_name` lies below the folder
of the metadata file; the other fields are those of `_pairs`. An image without metadata takes the lines of
the text file of its name as captions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from fdrd.reasons import Rejection
from fdrd.record import ImageRef, Record
from fdrd.sources.reading.annotation_files import (
    SPLIT_OF_WORD,
    files_below,
    is_absolute,
    is_image,
    leaves_root,
    open_annotations,
)
from fdrd.sources.reading.columns import known_fields
from fdrd.sources.reading.lines import MAX_LINE, Line, read_jsonl, read_separated
from fdrd.sources.reading.pairs import pairs

METADATA = ("metadata.jsonl", "metadata.csv")


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


def near(root: Path) -> str | None:
    """Images that lie in no folder of a category, or too deep."""
    path = next(filter(is_image, files_below(root)), None)
    if path is None:
        return None
    if "/" not in path:
        return f"{path} lies in no folder of a category, and no metadata.jsonl names one"
    return f"{path} lies deeper than [split/]category/image.jpg"


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


def _with_id(found: Record | Rejection, captions_of: Counter[str]) -> Record | Rejection:
    """The record with the image's path as its id, numbered from the second caption on, unless it has one."""
    if isinstance(found, Rejection) or found.id:
        return found
    path, number = found.image.path, captions_of[found.image.path]
    return replace(found, id=path if number < 2 else f"{path}#{number}")


def _read_metadata(root: Path, file: str, images: set[str] | None) -> Iterator[Record | Rejection]:
    lines = read_jsonl if file.endswith(".jsonl") else read_separated
    for line in lines(root, file):
        if isinstance(line, Rejection):
            yield line
            continue
        fields = known_fields(line.fields)
        name = fields.get("image")
        if not isinstance(name, str) or not name:
            yield line.reject("bad_field", '"file_name" is missing or not a string')
        elif is_absolute(name) or leaves_root(name):
            yield line.reject("path_outside", name[:200])
        else:
            path = (PurePosixPath(file).parent / name).as_posix()
            if images is None or path in images:
                yield from pairs(Line(file, line.key, fields), ImageRef(path), path)
            else:
                detail = f"{path[:200]} is not there, or has no ending of an image"
                yield line.reject("image_missing", detail)


def _read_text(root: Path, path: str, texts: set[str]) -> Iterator[Record | Rejection]:
    image, text = ImageRef(path), PurePosixPath(path).with_suffix(".txt").as_posix()
    if text not in texts:
        yield from pairs(Line(path, "", {}), image, path)
        return
    file = open_annotations(root, text)
    if isinstance(file, Rejection):
        yield file
        return
    with file:
        raw = file.read(MAX_LINE + 1)
    if len(raw) > MAX_LINE:
        yield Rejection(text, "", "unreadable_annotations", f"over {MAX_LINE} bytes of captions")
        return
    try:
        captions = raw.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        yield Rejection(text, "", "unreadable_annotations", f"not UTF-8: {error}")
        return
    captions = [caption for caption in captions if caption.strip()]
    for number, caption in enumerate(captions or [""], 1):
        line = Line(text, f"line {number}", {"caption": caption})
        for found in pairs(line, image, path):
            name = path if number == 1 else f"{path}#{number}"
            yield replace(found, id=name) if isinstance(found, Record) else found
