"""Cache the image checks of earlier builds, so that an unchanged file is not decoded twice.

The file has one JSON line per image: path, size, modification time, and the fields of `ImageCheck`. It is
only appended to during a build. A last line that a kill truncated is ignored.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import asdict

from fdrd.files.atomic import name_in_errors
from fdrd.images.check import ImageCheck
from fdrd.record import ImageRef

Stamp = tuple[int, int]
"""Size in bytes, modification time in nanoseconds."""


def stamp(root: str, image: ImageRef) -> Stamp:
    """Return size and modification time of the file that contains an image, or zeros without one."""
    try:
        status = os.stat(f"{root}/{image.path}")  # noqa: PTH116 - called once per image
    except OSError:
        return (0, 0)
    return (status.st_size, status.st_mtime_ns)


def read_ledger(file: Path) -> dict[ImageRef, tuple[Stamp, ImageCheck]]:
    """Return the last check of each image with its stamp.

    Read errors and images over the pixel limit are left out, because they may pass this time.
    """
    known: dict[ImageRef, tuple[Stamp, ImageCheck]] = {}
    for line in _lines(file):
        try:
            image = ImageRef(line.pop("path"), line.pop("member"))
            before = (line.pop("size"), line.pop("mtime_ns"))
            check = ImageCheck.from_json(line)
            if check.reason not in ("read_error", "image_too_large"):
                known[image] = (before, check)
        except (KeyError, TypeError, ValueError):
            continue  # written by another version of fdrd, or damaged
    return known


def append_ledger(file: Path, checks: Iterable[tuple[ImageRef, Stamp, ImageCheck]]) -> None:
    """Append checks in a single write: a kill truncates at most one line."""
    rows = [
        {
            "path": image.path,
            "member": image.member,
            "size": size,
            "mtime_ns": mtime_ns,
            **asdict(check),
        }
        for image, (size, mtime_ns), check in checks
    ]
    with name_in_errors(file), file.open("ab") as ledger:
        ledger.write(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    if not file.is_file():
        return
    with file.open("rb") as lines:
        for line in lines:
            try:
                yield msgspec.json.decode(line, type=dict[str, Any])
            except (ValueError, RecursionError):
                continue  # truncated by a kill, and continued by the next run
