"""The rejected records of a dataset, as its pages show them: by reason, with the kept record that each one met."""

from __future__ import annotations

import json
import re
import stat
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fdrd.errors import FdrdError
from fdrd.images.check import read_image
from fdrd.reasons import KEEPABLE
from fdrd.record import ImageRef

LEAKS = frozenset(
    f"{kind}_in_other_split" for kind in "image near_image mirrored_image group caption".split()
)
_PAIR = re.compile(
    r"(?P<own>.+?): (?:looks like |is a mirror(?:ed or turned copy| image) of |the same pair as )?(?P<other>.+?)"
    r"(?: of (?P<split>train|validation|test))?"
)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line of `rejected.jsonl`.

    Attributes:
        number: number of the line, from 0.
        item: the line.
        own: the image of the record below the source, where the line names one.
        other: the image or the id of the kept record that it met, where there is one.
        split: split of that record.
        keepable: whether a reviewer may keep it after all.
        captionable: whether a reviewer may write its caption.
    """

    number: int
    item: dict[str, str]
    own: str
    other: str
    split: str
    keepable: bool
    captionable: bool = False

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


def reasons(rejected: list[Rejected]) -> list[tuple[str, int]]:
    """Return the number of rejected records by reason, most frequent first."""
    return Counter(each.item["reason"] for each in rejected).most_common()


def rejected_image(source: Path, rejected: Rejected) -> bytes:
    """Return the bytes of a rejected record's image, read from inside the source only.

    Raises:
        FdrdError: the line names no image, or it cannot be read.
    """
    path, _, member = rejected.own.partition(": ")
    if not path:
        raise FdrdError("no image is named")
    try:
        return read_image(str(source), ImageRef(path, member))
    except (OSError, LookupError, ValueError) as error:
        raise FdrdError(f"{rejected.own} cannot be read: {error}") from None


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
    keepable = item["reason"] in KEEPABLE
    if not keepable:  # the detail is `image: what is wrong`, or names no image
        own, colon, _ = item["detail"].rpartition(": ")
        captionable = item["reason"] == "caption_missing"
        return Rejected(number, item, own if colon else "", "", "", False, captionable)
    pair = _PAIR.fullmatch(item["detail"]) if item["reason"] in {*LEAKS, "duplicate_pair"} else None
    own = pair["own"] if pair else item["detail"].rpartition(": ")[0]
    other = pair["other"] if pair else ""
    return Rejected(number, item, own, other, (pair["split"] or "") if pair else "", True)
