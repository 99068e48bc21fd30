"""Drafts of captions for images that have none: what runs of `fdrd caption` wrote, side by side."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fdrd.captioning.output import REJECTED, SUMMARY, image_path
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
            for domain in self._domains:
                for image, text in _captions(folder / domain.name):
                    self._texts[domain.name, image].append((folder.name, text))

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


def _captions(folder: Path) -> Iterable[tuple[str, str]]:
    """Yield path and caption of each image of a domain, those that the filters of the run refused included."""
    for file in sorted([*folder.glob("captions*.json"), folder / REJECTED]):
        try:
            if not file.is_file() or file.stat().st_size > _MAX_BYTES:
                continue
            text = file.read_text(encoding="utf-8")
            if file.name == REJECTED:
                lines = [json.loads(line) for line in text.splitlines()]
                pairs: list[tuple[Any, Any]] = [(line["picture"], line["draft"]) for line in lines]
            else:
                entries = json.loads(text).values()
                pairs = [(entry["file_path"], entry["positive"]) for entry in entries]
        except (
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            raise FdrdError(f"{file} is damaged ({type(error).__name__}); caption again") from None
        for image, caption in pairs:
            if (
                isinstance(image, str)
                and isinstance(caption, str)
                and 0 < len(caption) <= MAX_CAPTION
            ):
                yield image, caption
