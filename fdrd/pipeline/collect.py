"""Read the items of a source, check their images, and find attributes in their captions.

Workers decode images and parse captions while the annotations are still being read.
"""

from __future__ import annotations

import platform
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from msgspec.structs import replace

from fdrd.curation.filters import encodable, unique_ids
from fdrd.curation.source_contents import Item, SourceContents
from fdrd.engines import Engine
from fdrd.errors import FdrdError
from fdrd.images.check import ImageCheck, check_image
from fdrd.progress import Progress
from fdrd.reasons import Rejection
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


def run_check_task(task: CheckTask) -> tuple[list[ImageCheck], list[tuple[Attribute, ...]]]:
    """Return the checks of a task's images and the attributes of its captions.

    Raises:
        FdrdError: this machine does not see the source.
    """
    if not Path(task.root).is_dir():
        raise FdrdError(
            f"{platform.node()} does not see {task.root}; all machines must see the source under the same path"
        )
    return (
        [check_image(task.root, image, task.max_pixels) for image in task.images],
        [find_attributes(caption, category) for caption, category in task.captions],
    )


def check_items(
    source: Path,
    found: Iterable[Item],
    max_pixels: int,
    ledger: Path,
    engine: Engine,
    progress: Progress,
    expected: int = 0,
) -> SourceContents:
    """Check the images of all items. Images in the ledger are not decoded again; new ones are added to it.

    Args:
        source: the root.
        found: the items, which are processed while they are read.
        max_pixels: limit of width times height of an image.
        ledger: file of earlier checks, created if it is missing.
        engine: runs the checks.
        progress: called after each task.
        expected: approximate number of images, for the progress only.
    """
    root = str(source.absolute())
    items: list[Item] = []
    checks: dict[ImageRef, ImageCheck] = {}
    known = read_ledger(ledger)
    in_flight: deque[tuple[list[tuple[ImageRef, Stamp]], list[int]]] = deque()
    seen: set[ImageRef] = set()

    def tasks() -> Iterator[CheckTask]:
        images: list[tuple[ImageRef, Stamp]] = []
        positions: list[int] = []
        for item in found:
            items.append(item)
            if isinstance(item, Rejection):
                continue
            if item.image not in seen:
                seen.add(item.image)
                now = stamp(source, item.image)
                before, earlier = known.pop(item.image, (None, ImageCheck()))
                if before == now:
                    checks[item.image] = earlier
                else:
                    images.append((item.image, now))
            if not item.attributes:
                positions.append(len(items) - 1)
            if len(images) >= IMAGES or len(positions) >= CAPTIONS:
                yield new_task(images, positions)
                images, positions = [], []
        if images or positions:
            yield new_task(images, positions)

    def new_task(images: list[tuple[ImageRef, Stamp]], positions: list[int]) -> CheckTask:
        in_flight.append((images, positions))
        records = [record for at in positions if isinstance(record := items[at], Record)]
        captions = [(record.caption, record.category) for record in records]
        return CheckTask(root, max_pixels, [image for image, _ in images], captions)

    engine.prepare(run_check_task)
    for new_checks, attributes in engine.run(run_check_task, tasks()):
        images, positions = in_flight.popleft()
        rows = [(ref, now, check) for (ref, now), check in zip(images, new_checks, strict=True)]
        append_ledger(ledger, rows)
        checks.update((ref, check) for ref, _, check in rows)
        for position, spans in zip(positions, attributes, strict=True):
            record = items[position]
            if isinstance(record, Record):
                items[position] = replace(record, attributes=_interned(spans))
        progress("decoding images", len(checks), max(expected, len(checks) + 1))
    progress("decoding images", len(checks), len(checks))
    return SourceContents(items, checks, root)


def read_items(source: Path, domains: Iterable[Domain]) -> Iterator[Item]:
    """Yield all items with unique ids. Repeated short strings are interned, because millions stay in memory."""
    domains = list(domains)
    read = (item for domain in domains for item in read_domain(source, domain))
    for item in unique_ids(encodable(chain(unread_folders(source, domains), read))):
        if isinstance(item, Rejection):
            yield item
        else:
            license = sys.intern(item.source.license)
            yield replace(
                item,
                category=sys.intern(item.category),
                meta_category=sys.intern(item.meta_category),
                source=replace(item.source, license=license),
                attributes=_interned(item.attributes),
            )


def _interned(spans: tuple[Attribute, ...]) -> tuple[Attribute, ...]:
    return tuple(
        Attribute(sys.intern(span.type), sys.intern(span.value), span.start, span.end)
        for span in spans
    )
