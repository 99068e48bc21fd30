"""Read the items of a source, check their images, and find attributes in their captions.

Workers decode images and parse captions while the annotations are still being read.
"""

from __future__ import annotations

import platform
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from msgspec.structs import replace

from fdrd.curation.filters import encodable
from fdrd.curation.source_contents import CheckedImage, Item, SourceContents, SourceWriter
from fdrd.engines import TASKS_AHEAD, Engine
from fdrd.errors import FdrdError
from fdrd.files.struct_table import StructWriter
from fdrd.images.check import ImageCheck, check_images
from fdrd.progress import Progress
from fdrd.record import Attribute, ImageRef, Record
from fdrd.sources import Domain, read_domain, unread_folders
from fdrd.storage.ledger import Stamp, append_ledger, read_ledger, stamp
from fdrd.text.attributes import find_attributes

IMAGES = 64
"""Images per task: enough to make its overhead negligible."""
CAPTIONS = 8 * IMAGES


@dataclass(frozen=True, slots=True)
class CheckTask:
    """Images to check, and (caption, category) pairs to find attributes in."""

    root: str
    max_pixels: int
    images: list[ImageRef] = field(default_factory=list)
    captions: list[tuple[str, str]] = field(default_factory=list)


CheckedTask = tuple[list[ImageCheck], list[tuple[Attribute, ...]]]


def run_check_task(task: CheckTask) -> CheckedTask:
    """Return the checks of a task's images and the attributes of its captions.

    Raises:
        FdrdError: this machine does not see the source.
    """
    if not Path(task.root).is_dir():
        raise FdrdError(
            f"{platform.node()} does not see {task.root}; all machines must see the source under the same path"
        )
    return (
        check_images(task.root, task.images, task.max_pixels),
        [find_attributes(caption, category) for caption, category in task.captions],
    )


@dataclass(slots=True)
class _Chunk:
    """Neighboring items of a source that wait for the result of a task."""

    items: list[Item] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    """for each item, the index of its image, or -1"""
    images: list[tuple[ImageRef, Stamp, ImageCheck | None]] = field(default_factory=list)
    """those that no earlier chunk has, with the check of the ledger"""
    untagged: list[int] = field(default_factory=list)
    """indices of the records without attributes"""

    def unchecked(self) -> list[tuple[ImageRef, Stamp]]:
        """Return the images that are not in the ledger."""
        return [(image, now) for image, now, check in self.images if check is None]

    def task(self, root: str, max_pixels: int) -> CheckTask:
        """Return the task of the chunk."""
        records = [item for at in self.untagged if isinstance(item := self.items[at], Record)]
        captions = [(record.caption, record.category) for record in records]
        return CheckTask(root, max_pixels, [image for image, _ in self.unchecked()], captions)


@contextmanager
def checked_source(
    work: Path,
    root: Path,
    found: Iterable[Item],
    max_pixels: int,
    ledger: Path,
    engine: Engine,
    progress: Progress,
    expected: int = 0,
) -> Iterator[SourceContents]:
    """Check the images of all items, and yield the items and checks until the block ends.

    Images in the ledger are not decoded again; new ones are added to it.

    Args:
        work: folder for the files of the contents.
        root: folder of the source.
        found: the items, which are processed while they are read.
        max_pixels: limit of width times height of an image.
        ledger: file of earlier checks, created if it is missing.
        engine: runs the checks.
        progress: called after each task.
        expected: approximate number of images, for the progress only.
    """
    with (
        SourceWriter(work / "records.partial") as items,
        StructWriter(work / "images.partial", CheckedImage) as images,
    ):
        top = str(root.absolute())
        engine.prepare(run_check_task)
        waiting: deque[tuple[_Chunk, Callable[[], CheckedTask]]] = deque()

        def finish_first() -> None:
            chunk, result = waiting.popleft()
            _add_checked(chunk, result(), items, images, root, ledger)
            progress("decoding images", len(images), max(expected, len(images) + 1))

        for chunk in _chunks(root, found, read_ledger(ledger)):
            if len(waiting) >= TASKS_AHEAD * engine.workers:
                finish_first()
            waiting.append((chunk, engine.submit(run_check_task, chunk.task(top, max_pixels))))
        while waiting:
            finish_first()
        progress("decoding images", len(images), len(images))
        yield items.finish(top, images.finish())


def _add_checked(
    chunk: _Chunk,
    result: CheckedTask,
    items: SourceWriter,
    images: StructWriter[CheckedImage],
    root: Path,
    ledger: Path,
) -> None:
    """Add a chunk after its task."""
    checks, attributes = result
    new = [(*image, check) for image, check in zip(chunk.unchecked(), checks, strict=True)]
    # an image that changed meanwhile may get its old time back
    append_ledger(ledger, [each for each in new if stamp(root, each[0]) == each[1]])
    checked = iter(checks)
    for image, _, check in chunk.images:
        images.append(CheckedImage(image, check or next(checked)))
    for at, spans in zip(chunk.untagged, attributes, strict=True):
        chunk.items[at] = replace(chunk.items[at], attributes=spans)
    for item, number in zip(chunk.items, chunk.numbers, strict=True):
        items.add(item, number)


def _chunks(
    source: Path, found: Iterable[Item], known: dict[ImageRef, tuple[Stamp, ImageCheck]]
) -> Iterator[_Chunk]:
    """Yield the items in chunks, each with the work of one task. Images are numbered as they come."""
    numbers: dict[ImageRef, int] = {}
    chunk, unchecked = _Chunk(), 0
    for item in found:
        number = -1
        if isinstance(item, Record):
            if (number := numbers.get(item.image, -1)) < 0:
                number = numbers[item.image] = len(numbers)
                now = stamp(source, item.image)
                before, earlier = known.pop(item.image, (None, None))
                check = earlier if before == now else None
                chunk.images.append((item.image, now, check))
                unchecked += check is None
            if not item.attributes:
                chunk.untagged.append(len(chunk.items))
        chunk.items.append(item)
        chunk.numbers.append(number)
        if unchecked >= IMAGES or len(chunk.items) >= CAPTIONS:
            yield chunk
            chunk, unchecked = _Chunk(), 0
    if chunk.items:
        yield chunk


def read_items(
    source: Path, domains: Iterable[Domain], captions: Mapping[str, str]
) -> Iterator[Item]:
    """Yield all items that can be written as UTF-8; `captions` are those of reviewers (`read_domain`)."""
    domains = list(domains)
    read = (item for domain in domains for item in read_domain(source, domain, captions=captions))
    return encodable(chain(unread_folders(source, domains), read))
