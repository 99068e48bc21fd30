"""What earlier builds found in the images of a source, so that an unchanged file is not decoded twice.

One JSON line per image: path, size, time of change, and the fields of `ImageCheck`. The file is only ever
appended to while a build runs; a last line that a kill cut short is ignored.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fdrd.images.check import ImageCheck
from fdrd.record import ImageRef

Stamp = tuple[int, int]  # size in bytes, time of change in nanoseconds


def stamp(root: Path, image: ImageRef) -> Stamp:
    """Size and time of change of the file that an image lies in, zeros where there is none."""
    try:
        status = os.stat(f"{root}/{image.path}")  # noqa: PTH116 - called once per image
    except OSError:
        return (0, 0)
    return (status.st_size, status.st_mtime_ns)


def read_ledger(file: Path) -> dict[ImageRef, tuple[Stamp, ImageCheck]]:
    """What was found last in each image, and its stamp then, but for read errors and a limit that may have changed."""
    known: dict[ImageRef, tuple[Stamp, ImageCheck]] = {}
    for line in _lines(file):
        try:
            ref = ImageRef(line.pop("path"), line.pop("member"))
            before = (line.pop("size"), line.pop("mtime_ns"))
            examined = ImageCheck(**{**line, "rules": tuple(line["rules"])})
        except (KeyError, TypeError):
            continue  # of another version of fdrd
        if examined.reason not in ("read_error", "image_too_large"):
            known[ref] = (before, examined)
    return known


def append_ledger(file: Path, found: Iterable[tuple[ImageRef, Stamp, ImageCheck]]) -> None:
    """Adds what was found, in one write: a kill cuts one line short at most."""
    rows = [
        {
            "path": ref.path,
            "member": ref.member,
            "size": size,
            "mtime_ns": mtime_ns,
            **asdict(examined),
        }
        for ref, (size, mtime_ns), examined in found
    ]
    with file.open("a", encoding="utf-8") as ledger:
        ledger.write("".join(json.dumps(row) + "\n" for row in rows))


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    if not file.is_file():
        return
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                yield json.loads(line)
            except ValueError:
                continue  # cut short by a kill, and by the line that a later run appended to it
