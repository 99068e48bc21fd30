"""Class folders in class folders, as in iNaturalist and Places: the innermost is the category of its images.

The folder above it is the meta-category. Everything else is as in `image_folder`.
"""

from collections.abc import Iterator
from pathlib import PurePosixPath

from msgspec.structs import replace

from fdrd.record import Record
from fdrd.sources.layouts import image_folder
from fdrd.sources.reading.columns import may_be_category
from fdrd.sources.reading.names import SPLIT_OF_WORD, is_image
from fdrd.sources.reading.pairs import Pairs
from fdrd.sources.reading.source_folder import SourceFolder
from fdrd.text.normalize import normalize_category

ORDER = 5  # any deeper folder of images

used_files = image_folder.used_files


def detect(folder: SourceFolder) -> str | None:
    for path in _nested_images(folder):
        text = PurePosixPath(path).with_suffix(".txt").as_posix()
        if text in folder:
            return f"{text} describes an image in nested folders"
    return None


def near_miss(folder: SourceFolder) -> str | None:
    for path in _nested_images(folder):
        return f"{path} has no text file with captions next to it; `fdrd caption` writes captions"
    return None


def read(folder: SourceFolder, require_images: bool = True) -> Pairs:
    """Yield the pairs of `image_folder` with their meta-categories."""
    for found in image_folder.read(folder, require_images):
        if isinstance(found, Record) and found.category and not found.meta_category:
            classes = _classes(found.id)
            parent = classes[-2] if len(classes) > 1 else ""
            meta = normalize_category(parent)[0] if may_be_category(parent) else ""
            found = replace(found, meta_category=meta)
        yield found


def _nested_images(folder: SourceFolder) -> Iterator[str]:
    return (path for path in folder.files if is_image(path) and len(_classes(path)) > 1)


def _classes(path: str) -> list[str]:
    """Return the folders of an image below its split."""
    folders = path.split("/")[:-1]
    return folders[1:] if folders and folders[0].lower() in SPLIT_OF_WORD else folders
