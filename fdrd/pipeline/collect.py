"""What a source holds: its records and rejections in order, what each image is worth, attributes found in captions.

Workers decode images and read captions while the annotations are still being read.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from fdrd.curation.filters import encodable, unique_ids
from fdrd.curation.source_contents import Item, SourceContents
from fdrd.engines import Engine
from fdrd.images.check import ImageCheck, examine
from fdrd.progress import Progress
from fdrd.reasons import Rejection
from fdrd.record import Attribute, ImageRef, Record
from fdrd.sources import Domain, read_domain, unread_folders
from fdrd.storage.ledger import Stamp, append_ledger, read_ledger, stamp
from fdrd.text.attributes import find_attributes

IMAGES = 64  # of a task: large enough to hide its cost
CAPTIONS = 8 * IMAGES


@dataclass(frozen=True, slots=True)
class Look:
    """A task: images to examine, and (caption, category) pairs to find attributes in."""

    root: str
    max_pixels: int
    images: list[ImageRef] = field(default_factory=list)
    described: list[tuple[str, str]] = field(default_factory=list)


def look(task: Look) -> tuple[list[ImageCheck], list[tuple[Attribute, ...]]]:
    """What the images of a task are worth, and the attributes of its captions: the unit of work of a worker."""
    return (
        [examine(task.root, ref, task.max_pixels) for ref in task.images],
        [find_attributes(caption, category) for caption, category in task.described],
    )


def gather(
    source: Path,
    found: Iterable[Item],
    max_pixels: int,
    ledger: Path,
    engine: Engine,
    progress: Progress,
    expected: int = 0,
) -> SourceContents:
    """Examines what a source says. Images that the ledger knows are not decoded again; what is new is added to it.

    Args:
        source: the root.
        found: its items, of which images and captions are looked at while they are read.
        max_pixels: above which an image is refused.
        ledger: a file; made where there is none.
        engine: runs what examines.
        progress: told of each task that is done.
        expected: about how many images there are, for the progress alone.
    """
    items: list[Item] = []
    examined: dict[ImageRef, ImageCheck] = {}
    known = read_ledger(ledger)
    asked: deque[tuple[list[tuple[ImageRef, Stamp]], list[int]]] = deque()
    seen: set[ImageRef] = set()

    def tasks() -> Iterator[Look]:
        images: list[tuple[ImageRef, Stamp]] = []
        places: list[int] = []
        for item in found:
            items.append(item)
            if isinstance(item, Rejection):
                continue
            if item.image not in seen:
                seen.add(item.image)
                now = stamp(source, item.image)
                before, earlier = known.pop(item.image, (None, ImageCheck()))
                if before == now:
                    examined[item.image] = earlier
                else:
                    images.append((item.image, now))
            if not item.attributes:
                places.append(len(items) - 1)
            if len(images) >= IMAGES or len(places) >= CAPTIONS:
                yield ask(images, places)
                images, places = [], []
        if images or places:
            yield ask(images, places)

    def ask(images: list[tuple[ImageRef, Stamp]], places: list[int]) -> Look:
        asked.append((images, places))
        records = [record for place in places if isinstance(record := items[place], Record)]
        described = [(record.caption, record.category) for record in records]
        return Look(str(source), max_pixels, [image for image, _ in images], described)

    for worth, attributes in engine.run(look, tasks()):
        images, places = asked.popleft()
        append_ledger(
            ledger, ((ref, now, each) for (ref, now), each in zip(images, worth, strict=True))
        )
        examined.update((ref, each) for (ref, _), each in zip(images, worth, strict=True))
        for place, spans in zip(places, attributes, strict=True):
            record = items[place]
            if isinstance(record, Record):
                items[place] = replace(record, attributes=_shared(spans))
        progress("decoding images", len(examined), max(expected, len(examined) + 1))
    progress("decoding images", len(examined), len(examined))
    return SourceContents(items, examined, str(source))


def read_items(source: Path, domains: Iterable[Domain]) -> Iterator[Item]:
    """All items, each id once; equal short texts are one object, as millions of them stay in memory."""
    domains = list(domains)
    read = (item for domain in domains for item in read_domain(source, domain))
    for item in unique_ids(encodable(chain(unread_folders(source, domains), read))):
        if isinstance(item, Rejection):
            yield item
        else:
            licence = sys.intern(item.source.license)
            yield replace(
                item,
                category=sys.intern(item.category),
                meta_category=sys.intern(item.meta_category),
                source=replace(item.source, license=licence),
                attributes=_shared(item.attributes),
            )


def _shared(spans: tuple[Attribute, ...]) -> tuple[Attribute, ...]:
    return tuple(
        Attribute(sys.intern(span.type), sys.intern(span.value), span.start, span.end)
        for span in spans
    )
