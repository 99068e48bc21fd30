"""Which image an annotation means whose path is of another machine, or whose name has folder or category in front.

The rules that found it are keys of `fdrd.reasons.RULES`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path, PurePosixPath

from fdrd.reasons import Rejection
from fdrd.record import Split
from fdrd.sources.reading.annotation_files import (
    files_below,
    is_absolute,
    is_image,
    leaves_root,
    split_in_name,
)

Images = dict[str, list[str]]
"""Paths of images by every name that an annotation may use."""

_CUTS = 40  # places of a name that are tried as the end of the category


def index_images(root: Path) -> Images:
    """The images below a root by stem, folder_stem, folder_folder_stem and so on, and by path."""
    images: Images = defaultdict(list)
    for path in files_below(root):
        if is_image(path):
            parts = stem(path).split("/")
            names = {"_".join(parts[-depth:]) for depth in range(1, min(4, len(parts)) + 1)}
            for name in names | {stem(path)}:
                images[name].append(path)
    return images


def locate(
    name: str, file_path: object, category: str, images: Images, split: Split
) -> tuple[str, tuple[str, ...]] | Rejection:
    """The image that an annotation means, and the rules that found it.

    Args:
        name: what the annotation calls the file.
        file_path: where it says that the file lies.
        category: as the annotation spells it.
        images: of the source.
        split: of the annotation; tells apart files of one name in folders of splits.
    """
    rules = []
    given = file_path if isinstance(file_path, str) else ""
    if leaves_root(given) or leaves_root(name) or is_absolute(name):
        return Rejection("", "", "path_outside", f"{name[:200]!r}, {given[:200]!r}")
    if is_absolute(given):
        rules.append("path_of_another_machine")
    elif given and given in images.get(stem(given), []):
        return given, ()
    elif given and not is_image(given):
        rules.append("path_placeholder")
    last = stem(PurePosixPath(name).name)
    whole = stem(name).replace("/", "_")  # "F/A-18_0056978" is no folder
    for wanted in (last, *_without_category(last, category), *_without_category(whole, category)):
        found = _narrowed(images.get(wanted, []), name, split)
        if len(found) > 1:
            detail = f"{name!r} could be {', '.join(found[:3])}; give a file_path below the root"
            return Rejection("", "", "image_ambiguous", detail)
        if found:
            path = found[0]
            if wanted != last:
                rules.append("category_joined_to_name")
            elif PurePosixPath(path).stem != last:
                rules.append("folder_joined_to_name")
            return path, (*rules, *([] if is_image(name) else ["extension_added"]))
    return Rejection("", "", "image_missing", f"no image is called {name[:200]!r}")


def stem(name: str) -> str:
    """A name without the ending of an image."""
    return name[: name.rindex(".")] if is_image(name) else name


def _narrowed(found: list[str], name: str, split: Split) -> list[str]:
    """Those of several paths that have the annotation's ending, and lie in a folder of its split."""
    if len(found) > 1 and is_image(name):
        found = [path for path in found if path.endswith(PurePosixPath(name).suffix)]
    if len(found) > 1 and split:
        folders = {path: PurePosixPath(path).parent.parts for path in found}
        in_split = [path for path in found if split in map(split_in_name, folders[path])]
        found = in_split or found
    return found


def _without_category(name: str, category: str) -> list[str]:
    """What is left of a name that begins with the category, however that is spelled.

    >>> _without_category("ball moss_image_06422", "ball moss"), _without_category("F_A-18_0056978", "F/A-18")
    (['image_06422'], ['0056978'])
    """
    wanted = _letters(category)
    cuts = [place.start() for place in re.finditer("[_ ]", name)][:_CUTS]
    return [name[cut + 1 :] for cut in cuts if wanted and _letters(name[:cut]) == wanted]


def _letters(name: str) -> str:
    return "".join(sign for sign in name.casefold() if sign.isalnum())
