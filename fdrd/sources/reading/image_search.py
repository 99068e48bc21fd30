"""Find the image that an annotation means, although its path or name does not match a file.

Annotations contain paths of other machines, and names with the folder or category in front. The rules that
led to an image are keys of `fdrd.reasons.RULES`.
"""

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cached_property, lru_cache
from itertools import chain, islice, takewhile
from pathlib import PurePosixPath

from msgspec.structs import replace

from fdrd.record import Record, Split
from fdrd.sources.reading.lines import Line
from fdrd.sources.reading.names import (
    DOWNLOAD,
    is_absolute,
    is_image,
    is_url,
    leaves_root,
    split_in_name,
    unread_format,
)
from fdrd.sources.reading.pairs import Pairs, pairs
from fdrd.sources.reading.source_folder import RejectedError, SourceFolder

_MAX_FOLDERS = 64  # of a path of another machine
MAX_SAME_NAME = 1000
"""Images of one name that are compared with an annotation, so that its time does not grow with the source."""

ImagesByName = dict[str, list[str]]  # paths of images by every name that an annotation may use


class ImageIndex:
    """Finds images by a path, or by the end of one, as annotations made elsewhere give it, and makes their pairs."""

    def __init__(self, folder: SourceFolder, require_images: bool = True, *, public: bool = False):
        """Take the images of a folder. A line without an image is rejected if `require_images` is on.

        `public` means the layout of a public set: no folder names a category, and the captions of an image are
        numbered. Otherwise the id of a second caption is its line.
        """
        self._folder, self._required, self._public = folder, require_images, public
        self._times: Counter[str] = Counter()

    def pairs_of(self, line: Line, name: object, split: Split = "") -> Pairs:
        """Yield the pairs of a line that names its image. Raise `RejectedError` if the image is not found."""
        path, rules = self.find(name, line.file), self.rules(str(name))
        for found in self.pairs_at(line, path, split):
            if rules and isinstance(found, Record):
                found = replace(found, rules=(*rules, *found.rules))
            yield found

    def pairs_at(self, line: Line, path: str, split: Split = "") -> Pairs:
        """Yield the pairs of a line whose image is found."""
        self._times[path] += 1
        times, options = self._times[path], self._folder.options
        position = f"{times}" if self._public else f"{line.file} {line.key}"
        id_ = path if times == 1 else f"{path}#{position}"
        folders = "" if self._public and not options.category_from else path
        yield from pairs(options, line, self._folder.image(path), folders, split, id_)

    @cached_property
    def _reversed(self) -> list[tuple[str, str]]:
        """Each path and each stem from its last letter to its first, and the path: equal ends are neighbors."""
        images = self._folder.images
        return sorted((f"/{name}"[::-1], path) for path in images for name in {path, stem(path)})

    def _ending(self, name: str) -> list[str]:
        """Return the images whose path or stem ends in a name, at most `MAX_SAME_NAME` of them."""
        start = f"/{name}"[::-1]
        first = bisect_left(self._reversed, (start, ""))
        following = self._reversed[first : first + MAX_SAME_NAME]
        return sorted({path for _, path in takewhile(lambda e: e[0].startswith(start), following)})

    def find(self, name: object, beside: str = "") -> str:
        """Return the image that an annotation names. A path may be relative to the annotation file, `beside`.

        Raise `RejectedError` if there is no such image, or there are several.
        """
        if not isinstance(name, str) or not name.strip():
            raise RejectedError("bad_field", "the image is missing or not a string")
        if is_url(name):
            raise RejectedError("image_missing", f"{name[:200]} is a URL; {DOWNLOAD}")
        below = self._folder.relative(name) or name.removeprefix("./")
        if leaves_root(below):
            raise RejectedError("path_outside", name[:200])
        if is_absolute(below):
            if moved := self._moved(below):
                return moved
            raise RejectedError("path_outside", name[:200])
        near = (PurePosixPath(beside).parent / below).as_posix()
        for path in (near, below):
            if path in self._folder.images:
                return path
        found = self._ending(below)
        if len(found) > 1:
            detail = f"{name[:200]!r} could be {', '.join(found[:3])}"[:400]
            raise RejectedError("image_ambiguous", detail)
        if found or (found := self._from_above(below)) or not self._required:
            return found[0] if found else below
        detail = f"no image is called {name[:200]!r}{self._why_missing(near, below)}"
        raise RejectedError("image_missing", detail)

    def _from_above(self, path: str) -> list[str]:
        """Return the image of a path that starts with the names of the folders around the source."""
        around, parts = self._folder.root.absolute().parts[-_MAX_FOLDERS:], path.split("/")
        ends = (
            "/".join(parts[count:])
            for count in range(1, min(len(around), len(parts)))
            if around[-count:] == tuple(parts[:count])
        )
        return [end for end in ends if end in self._folder.images][:1]

    def rules(self, name: str) -> tuple[str, ...]:
        """Return the rules that led to the image of a name."""
        is_elsewhere = is_absolute(name) and self._folder.relative(name) is None
        return ("path_of_another_machine",) if is_elsewhere else ()

    def _moved(self, path: str) -> str | None:
        """Return the image at the longest end of a path of another machine."""
        parts = path.replace("\\", "/").split("/")[1 : 1 + _MAX_FOLDERS]
        ends = ("/".join(parts[start:]) for start in range(len(parts)))
        return next((end for end in ends if end in self._folder.images), None)

    def _why_missing(self, *paths: str) -> str:
        """Return why a file of these paths is no image, if there is one."""
        path = next((path for path in paths if path in self._folder), "")
        if format := unread_format(path):
            return f"; {format} is not read, convert the file to PNG or JPEG"
        return "; the file of that name has no ending of an image" if path else ""


_MAX_CUTS = 40  # positions in a name that are tried as the end of the category


def index_images(folder: SourceFolder) -> ImagesByName:
    """Return the images of a folder by stem, folder_stem, folder_folder_stem and so on, and by path."""
    images: ImagesByName = defaultdict(list)
    for path in filter(is_image, folder.files):
        whole = stem(path)
        parts = whole.split("/")
        names = {"_".join(parts[-depth:]) for depth in range(1, min(4, len(parts)) + 1)}
        for name in names | {whole}:
            images[name].append(path)
    return images


def find_image(
    name: str, file_path: object, category: str, images: ImagesByName, split: Split
) -> tuple[str, tuple[str, ...]]:
    """Return the path of the image that an annotation means and the rules that led there.

    Name, path and category are as the annotation spells them. Its split chooses between files with the same name in
    split folders. Raise `RejectedError` if there is no such image, or there are several.
    """
    rules = []
    path = file_path if isinstance(file_path, str) else ""
    if leaves_root(path) or leaves_root(name) or is_absolute(name):
        raise RejectedError("path_outside", f"{name[:200]!r}, {path[:200]!r}")
    if is_absolute(path):
        rules.append("path_of_another_machine")
    elif path and path in images.get(stem(path), []):
        return path, ()
    elif path and not is_image(path):
        rules.append("path_placeholder")
    last = stem(PurePosixPath(name).name if "/" in name else name)
    whole = stem(name).replace("/", "_")  # the slash in "F/A-18_0056978" does not separate folders
    shorter = (_without_category(each, category) for each in (last, whole))
    for wanted in chain([last], chain.from_iterable(shorter)):
        found = _narrow(images.get(wanted, [])[:MAX_SAME_NAME], name, split)
        if len(found) > 1:
            detail = f"{name!r} could be {', '.join(found[:3])}; give a file_path below the root"
            raise RejectedError("image_ambiguous", detail)
        if found:
            if wanted != last:
                rules.append("category_joined_to_name")
            elif stem(found[0]).rpartition("/")[2] != last:
                rules.append("folder_joined_to_name")
            return found[0], (*rules, *([] if is_image(name) else ["extension_added"]))
    raise RejectedError("image_missing", f"no image is called {name[:200]!r}")


def stem(name: str) -> str:
    """Return a name without its image extension."""
    return name[: name.rindex(".")] if is_image(name) else name


def _narrow(found: list[str], name: str, split: Split) -> list[str]:
    """Of several paths, keep those with the annotation's extension, then those in a folder of its split."""
    if len(found) > 1 and is_image(name):
        found = [path for path in found if path.endswith(PurePosixPath(name).suffix)]
    if len(found) > 1 and split:
        folders = {path: PurePosixPath(path).parent.parts for path in found}
        in_split = [path for path in found if split in map(split_in_name, folders[path])]
        found = in_split or found
    return found


def _without_category(name: str, category: str) -> Iterator[str]:
    """Yield the rest of a name that starts with the category in any spelling.

    >>> [*_without_category("ball moss_image_06422", "ball moss"), *_without_category("F_A-18_0056978", "F/A-18")]
    ['image_06422', '0056978']
    """
    wanted = _letters(category)
    for match in islice(re.finditer("[_ ]", name), _MAX_CUTS if wanted else 0):
        if _letters(name[: match.start()]) == wanted:
            yield name[match.end() :]


@lru_cache(maxsize=8192)
def _letters(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
