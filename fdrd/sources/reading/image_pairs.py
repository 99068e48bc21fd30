"""Pairs of annotations that name their images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from msgspec.structs import replace

from fdrd.reasons import Rejection
from fdrd.record import Record, Split
from fdrd.sources.reading.image_search import ImageIndex
from fdrd.sources.reading.lines import Line
from fdrd.sources.reading.pairs import pairs
from fdrd.sources.reading.source_folder import SourceFolder


class ImagePairs:
    """Finds the image that a line names, and makes the pairs of the line."""

    def __init__(self, folder: SourceFolder, require_images: bool, *, public: bool = False):
        """Take the images of a folder.

        Args:
            folder: folder of the domain.
            require_images: whether a line without an image is rejected.
            public: whether the layout is that of a public set: no folder names a category, and the captions of an
                image are numbered. Otherwise the id of a second caption is its line.
        """
        self._folder, self._public = folder, public
        self._index = ImageIndex(folder, require_images)
        self._times: Counter[str] = Counter()

    def find(self, line: Line, *names: object) -> str | Rejection:
        """Return the path of the image with the first of these names that is found."""
        found: str | tuple[str, str] = ("image_missing", "")
        for name in names:
            found = self._index.find(name, line.file)
            if isinstance(found, str) or found[0] != "image_missing":
                break
        return found if isinstance(found, str) else line.reject(*found)

    def read(self, line: Line, name: object, split: Split = "") -> Iterator[Record | Rejection]:
        """Yield the pairs of a line, or its rejection if the image is not found."""
        path = self.find(line, name)
        if isinstance(path, Rejection):
            yield path
            return
        rules = self._index.rules(str(name))
        for found in self.of_image(line, path, split):
            if rules and isinstance(found, Record):
                found = replace(found, rules=(*rules, *found.rules))
            yield found

    def of_image(self, line: Line, path: str, split: Split = "") -> Iterator[Record | Rejection]:
        """Yield the pairs of a line whose image is found."""
        self._times[path] += 1
        times = self._times[path]
        place = f"{times}" if self._public else f"{line.file} {line.key}"
        id_ = path if times == 1 else f"{path}#{place}"
        folders = "" if self._public and not self._folder.options.category_from else path
        options, image = self._folder.options, self._folder.image(path)
        yield from pairs(options, line, image, folders, split, id_)
