"""Read the items of a source, check their images, and find attributes in their captions.

Workers decode images and parse captions while the annotations are still being read.
"""

import os
import platform
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import asdict, replace

from fdrd.curation.pair_table import CheckedImage, Item, SourceContents, SourceWriter
from fdrd.engines import Engine
from fdrd.errors import FdrdError
from fdrd.files.atomic import name_in_errors
from fdrd.files.struct_table import StructWriter
from fdrd.images.check import ImageCheck, check_images
from fdrd.progress import Progress
from fdrd.reasons import reject
from fdrd.record import Attribute, ImageRef, Record
from fdrd.sources import Domain, read_domain, unread_folders
from fdrd.text.attributes import find_attributes

IMAGES = 64  # images per task: enough to make its overhead negligible
CAPTIONS = 8 * IMAGES
Stamp = tuple[int, int]  # size in bytes, modification time in nanoseconds


def stamp(root: str, image: ImageRef) -> Stamp:
    """Return size and modification time of the file that contains an image, or zeros without one."""
    try:
        status = os.stat(f"{root}/{image.path}")  # noqa: PTH116 - called once per image
    except OSError:
        return (0, 0)
    return (status.st_size, status.st_mtime_ns)


def read_ledger(file: Path) -> dict[ImageRef, tuple[Stamp, ImageCheck]]:
    """Return the last check of each image with its stamp; a file that did not change is not decoded twice.

    The file has one JSON line per image. Read errors and images over the pixel limit are left out, because they may
    pass this time.
    """
    known: dict[ImageRef, tuple[Stamp, ImageCheck]] = {}
    if not file.is_file():
        return known
    with file.open("rb") as lines:
        for line in lines:
            # A kill truncates a line, which the next run continues. Another version of fdrd may have written it.
            with suppress(KeyError, TypeError, ValueError, RecursionError):
                row = msgspec.json.decode(line, type=dict[str, Any])
                image = ImageRef(row.pop("path"), row.pop("member"))
                before = (row.pop("size"), row.pop("mtime_ns"))
                check = msgspec.convert(row, ImageCheck)
                if check.reason not in ("read_error", "image_too_large"):
                    known[image] = (before, check)
    return known


def append_ledger(file: Path, checks: Iterable[tuple[ImageRef, Stamp, ImageCheck]]) -> None:
    """Append checks in a single write: a kill truncates at most one line."""
    rows = [
        {**asdict(image), "size": size, "mtime_ns": mtime_ns, **asdict(check)}
        for image, (size, mtime_ns), check in checks
    ]
    with name_in_errors(file), file.open("ab") as ledger:
        ledger.write(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))


CheckTask = tuple[list[ImageRef], list[tuple[str, str]]]
"""Images to check, and (caption, category) pairs to find attributes in."""


def run_check_task(
    task: CheckTask, root: str, max_pixels: int
) -> tuple[deque[ImageCheck], deque[tuple[Attribute, ...]]]:
    """Return the checks of a task's images, which are below `root`, and the attributes of its captions."""
    if not Path(root).is_dir():
        raise FdrdError(
            f"{platform.node()} does not see {root}; all machines must see the source under the same path"
        )
    images, captions = task
    checks = deque(check_images(root, images, max_pixels))
    return checks, deque(find_attributes(caption, category) for caption, category in captions)


@dataclass(slots=True)
class _Chunk:
    """Neighboring items of a source, and the lists of the task whose result they wait for."""

    unchecked: list[ImageRef] = field(default_factory=list)
    captions: list[tuple[str, str]] = field(default_factory=list)
    items: list[tuple[Item, int]] = field(default_factory=list)
    """each with the index of its image, or -1"""
    images: list[tuple[ImageRef, Stamp, ImageCheck | None]] = field(default_factory=list)
    """those that no earlier chunk has, with the check of the ledger"""


@contextmanager
def checked_source(
    work: Path,
    root: Path,
    found: Iterable[Item],
    max_pixels: int,
    engine: Engine,
    progress: Progress,
    ledger: Path,
    expected: int,
) -> Iterator[SourceContents]:
    """Check the images of all items, and yield the items and checks until the block ends.

    The items are processed while they are read. Images in the ledger, a file that is created if it is missing, are not
    decoded again; new ones are added to it. `expected` is the approximate number of images, for the progress only.
    """
    top = str(root.absolute())
    waiting: deque[_Chunk] = deque()

    def tasks() -> Iterator[CheckTask]:
        for chunk in _chunks(top, found, read_ledger(ledger)):
            waiting.append(chunk)
            yield chunk.unchecked, chunk.captions

    with (
        SourceWriter(work / "records.partial") as items,
        StructWriter(work / "images.partial", CheckedImage) as images,
    ):
        engine.prepare(run_check_task)
        for checks, attributes in engine.run(run_check_task, tasks(), top, max_pixels):
            chunk, new = waiting.popleft(), []
            for image, before, known in chunk.images:
                check = known or checks.popleft()
                # an image that changed meanwhile may get its old time back
                if not known and stamp(top, image) == before:
                    new.append((image, before, check))
                images.append(CheckedImage(image, check))
            append_ledger(ledger, new)
            for item, index in chunk.items:
                if isinstance(item, Record) and not item.attributes:
                    item = replace(item, attributes=attributes.popleft())
                items.add(item, index)
            progress("decoding images", len(images), max(expected, len(images) + 1))
        progress("decoding images", len(images), len(images))
        yield items.finish(top, images.finish())


def _chunks(
    root: str, found: Iterable[Item], known: dict[ImageRef, tuple[Stamp, ImageCheck]]
) -> Iterator[_Chunk]:
    """Yield the items in chunks, each with the work of one task. Images are numbered as they come."""
    indices: dict[ImageRef, int] = {}
    chunk = _Chunk()
    for item in found:
        index = -1
        if isinstance(item, Record):
            if item.image not in indices:
                indices[item.image] = len(indices)
                now = stamp(root, item.image)
                before, earlier = known.pop(item.image, (None, None))
                check = earlier if before == now else None
                chunk.images.append((item.image, now, check))
                if not check:
                    chunk.unchecked.append(item.image)
            index = indices[item.image]
            if not item.attributes:
                chunk.captions.append((item.caption, item.category))
        chunk.items.append((item, index))
        if len(chunk.unchecked) >= IMAGES or len(chunk.items) >= CAPTIONS:
            yield chunk
            chunk = _Chunk()
    if chunk.items:
        yield chunk


def _encodable(items: Iterable[Item]) -> Iterator[Item]:
    """Reject each record with a lone surrogate, e.g. from a JSON escape or a file name, which is not UTF-8."""
    for item in items:
        if isinstance(item, Record):
            try:
                msgspec.json.encode(item)
            except UnicodeEncodeError as error:
                detail = f"{error.object[error.start : error.end]!a} cannot be written as UTF-8"
                yield reject(item, "bad_field", detail)
                continue
        yield item


def read_items(
    source: Path, domains: Sequence[Domain], captions: Mapping[str, str]
) -> Iterator[Item]:
    """Yield all items that can be written as UTF-8; `captions` are those of reviewers (`read_domain`)."""
    read = (item for domain in domains for item in read_domain(source, domain, captions=captions))
    return _encodable(chain(unread_folders(source, domains), read))
