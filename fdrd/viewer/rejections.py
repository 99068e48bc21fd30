"""The rejected records of a dataset by reason, with the kept record that each one met, and drafts of their captions."""

from __future__ import annotations

import json
import re
import stat
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fdrd.captioning.output import DAMAGE, SUMMARY, annotation_files, image_path, read_captions
from fdrd.errors import FdrdError
from fdrd.reasons import KEEPABLE
from fdrd.record import ImageRef
from fdrd.sources import Domain, find_domains
from fdrd.sources.reading.names import MAX_CAPTION

LEAKS = frozenset(
    f"{kind}_in_other_split" for kind in "image near_image mirrored_image group caption".split()
)
_PAIR = re.compile(
    r"(.+?): (?:looks like |is a mirror(?:ed or turned copy| image) of |the same pair as )?(.+?)"
    r"(?: of (train|validation|test))?"
)
_MOST_BYTES = 2**28  # bytes of a file with drafts


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line of `rejected.jsonl`."""

    number: int  # number of the line, from 0
    item: dict[str, str]  # the line
    image: ImageRef | None  # the image of the record below the source, where the line names one
    other: str  # the image or the id of the kept record that it met, where there is one
    split: str  # split of that record
    keepable: bool  # whether a reviewer may keep it after all
    captionable: bool  # whether a reviewer may write its caption

    @property
    def name(self) -> str:
        """What decisions call the record: `file: key`."""
        return f"{self.item['file']}: {self.item['key']}"


def read_rejected(folder: Path) -> list[Rejected]:
    """Return the rejected records of a dataset; lines that are broken are left out."""
    path = folder / "rejected.jsonl"
    try:
        status = path.stat()
    except OSError:
        return []
    if not stat.S_ISREG(status.st_mode):
        return []
    return _read(path, status.st_mtime_ns, status.st_size)


@lru_cache(2)
def _read(path: Path, _changed: int, _size: int) -> list[Rejected]:
    found = []
    for number, line in enumerate(path.read_bytes().splitlines()):
        try:
            item: dict[str, Any] = json.loads(line)
            texts = {name: str(item[name]) for name in ("file", "key", "reason", "detail")}
            texts["reason"].encode()  # part of links
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        found.append(_parsed(number, texts))
    return found


def _parsed(number: int, item: dict[str, str]) -> Rejected:
    reason, detail = item["reason"], item["detail"]
    image, other, split = detail.rpartition(": ")[0], "", ""  # `image: what is wrong`, or no image
    if reason in {*LEAKS, "duplicate_pair"} and (pair := _PAIR.fullmatch(detail)):
        image, other, split = pair.groups("")
    path, _, member = image.partition(": ")
    place = ImageRef(path, member) if path else None
    captionable = reason == "caption_missing"
    return Rejected(number, item, place, other, split, reason in KEEPABLE, captionable)


class Drafts:
    """Captions that are not in the source, by image: what runs of `fdrd caption` wrote, side by side.

    Raises:
        FdrdError: a folder is no output of `fdrd caption`, or one of its files is damaged.
    """

    def __init__(self, source: Path, folders: Sequence[Path]):
        self._domains: list[Domain] = find_domains(source)
        self._texts: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
        for folder in folders:
            if not (folder / SUMMARY).is_file():
                remedy = "--drafts takes an output of `fdrd caption`"
                raise FdrdError(f"{folder} has no {SUMMARY}; {remedy}")
            for file in annotation_files(folder):
                for image, text in _read_drafts(file):
                    self._texts[file.parent.name, image].append((folder.name, text))

    def of(self, rejected: Iterable[Rejected]) -> dict[int, list[tuple[str, str]]]:
        """Return the name of the run and the text of each draft, by the number of the rejected record."""
        found = {}
        for each in rejected:
            if not each.captionable or each.image is None:
                continue
            for domain in self._domains:
                if domain.path == "." or each.image.path.startswith(f"{domain.path}/"):
                    image = image_path(each.image, domain.path)
                    texts = self._texts.get((domain.name, image), ())
                    found[each.number] = list(dict.fromkeys(texts))
        return found


def _read_drafts(file: Path) -> list[tuple[str, str]]:
    """Return path and caption of each image, also of drafts that the filters of the run refused."""
    if file.stat().st_size > _MOST_BYTES:
        raise FdrdError(f"{file} has more than {_MOST_BYTES} bytes; leave it out")
    try:
        found = read_captions(file)
    except (OSError, *DAMAGE) as error:
        raise FdrdError(f"{file} is damaged ({type(error).__name__}); caption again") from None
    return [(image, text) for image, text in found if 0 < len(text) <= MAX_CAPTION]
