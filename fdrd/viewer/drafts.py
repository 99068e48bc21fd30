"""Drafts of captions for images that have none: what runs of `fdrd caption` wrote, side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from fdrd.captioning.output import DAMAGE, SUMMARY, annotation_files, image_path, read_captions
from fdrd.errors import FdrdError
from fdrd.record import ImageRef
from fdrd.sources import Domain, find_domains
from fdrd.sources.reading.names import MAX_CAPTION
from fdrd.viewer.rejections import Rejected

_MAX_BYTES = 2**28


class Drafts:
    """Captions that are not in the source, by image.

    Raises:
        FdrdError: a folder is no output of `fdrd caption`, or one of its files is damaged.
    """

    def __init__(self, source: Path, folders: Sequence[Path]):
        self._domains: list[Domain] = find_domains(source)
        self._texts: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
        for folder in folders:
            if not (folder / SUMMARY).is_file():
                raise FdrdError(
                    f"{folder} has no {SUMMARY}; --drafts takes an output of `fdrd caption`"
                )
            for file in annotation_files(folder):
                for image, text in _read(file):
                    self._texts[file.parent.name, image].append((folder.name, text))

    def of(self, rejected: Iterable[Rejected]) -> dict[int, list[tuple[str, str]]]:
        """Return the name of the run and the text of each draft, by the number of the rejected record."""
        found = {}
        for each in rejected:
            path, _, member = each.own.partition(": ")
            for domain in self._domains if each.captionable else ():
                if path and (domain.path == "." or path.startswith(f"{domain.path}/")):
                    image = image_path(ImageRef(path, member), domain.path)
                    found[each.number] = list(
                        dict.fromkeys(self._texts.get((domain.name, image), ()))
                    )
        return found


def _read(file: Path) -> list[tuple[str, str]]:
    """Return path and caption of each image, also of drafts that the filters of the run refused."""
    if file.stat().st_size > _MAX_BYTES:
        raise FdrdError(f"{file} has more than {_MAX_BYTES} bytes; leave it out")
    try:
        found = read_captions(file)
    except (OSError, *DAMAGE) as error:
        raise FdrdError(f"{file} is damaged ({type(error).__name__}); caption again") from None
    return [(image, text) for image, text in found if 0 < len(text) <= MAX_CAPTION]
