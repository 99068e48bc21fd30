"""What a run of captioning left beside its captions, read back: who made each, and what was rejected."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fdrd.captioning.writing import REJECTED
from fdrd.files.safe_open import open_inside
from fdrd.record import ImageRef, Record
from fdrd.sources import find_domains, read_domain


@dataclass(frozen=True, slots=True)
class Rejected:
    """A picture that got no caption."""

    image: ImageRef
    category: str
    reason: str
    caption: str


@dataclass(frozen=True, slots=True)
class Written:
    """A source with captions, by the ids of its records.

    Attributes:
        root: the folder.
        records: that have a caption.
        made: what stands beside a caption that `fdrd caption` wrote.
        rejected: what it rejected.
    """

    root: Path
    records: Mapping[str, Record]
    made: Mapping[str, Mapping[str, Any]] = field(repr=False)
    rejected: Mapping[str, Rejected] = field(repr=False)

    def reasons(self) -> dict[str, int]:
        """How many pictures were rejected, by reason."""
        return dict(Counter(one.reason for one in self.rejected.values()).most_common())


def read_written(root: Path) -> Written:
    """The captions of a source in any layout, with what `fdrd caption` says of them if it wrote them.

    Raises:
        FdrdError: the folder is in no layout that fdrd reads.
    """
    records: dict[str, Record] = {}
    made: dict[str, Mapping[str, Any]] = {}
    rejected: dict[str, Rejected] = {}
    for domain in find_domains(root):
        for item in read_domain(root, domain, False):
            if isinstance(item, Record):
                records[item.id] = item
        folder = root / domain.path
        for file in sorted(folder.glob("captions*.json")):
            for key, entry in _objects(folder, file.name).items():
                if isinstance(entry, dict) and isinstance(entry.get("captioning"), dict):
                    made[f"{domain.name}/{key}"] = entry["captioning"]
        if (folder / REJECTED).is_file():
            for line in _lines(folder):
                path = str(line.get("picture", ""))
                rejected[f"{domain.name}/{line.get('key', path)}"] = Rejected(
                    ImageRef(path if domain.path == "." else f"{domain.path}/{path}"),
                    *(str(line.get(name, "")) for name in ("subject", "reason", "draft")),
                )
    return Written(root, records, made, rejected)


def _objects(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object; nothing where the file holds none, which its reader has said already."""
    try:
        with open_inside(folder, name) as file:
            value = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _lines(folder: Path) -> list[dict[str, Any]]:
    found = []
    with open_inside(folder, REJECTED) as file:
        for line in file:
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue  # a file that somebody edited: the page shows what can be read
            if isinstance(value, dict):
                found.append(value)
    return found
