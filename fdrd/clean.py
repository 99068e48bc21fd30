"""Filters over the records of a whole source: each passes a record on, or says why not.

They see no pixels: an image is known by the digest in `record.source.sha256`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from fdrd.images import Examined
from fdrd.reasons import Rejection
from fdrd.record import ImageRef, Record, Split, to_json

RANK: dict[Split, int] = {"test": 3, "validation": 2, "train": 1, "": 0}


def reject(record: Record, reason: str, detail: str) -> Rejection:
    """The rejection of a record, under the annotation that it came from."""
    file, _, key = record.source.origin.partition(": ")
    return Rejection(file, key, reason, detail)


def unique_ids(found: Iterable[Record | Rejection]) -> Iterator[Record | Rejection]:
    """Rejects a record whose id an earlier one has."""
    origin: dict[str, str] = {}
    for item in found:
        if isinstance(item, Record):
            if item.id in origin:
                yield reject(item, "duplicate_id", f"{item.id} is the id of {origin[item.id]}")
                continue
            origin[item.id] = item.source.origin
        yield item


def encodable(found: Iterable[Record | Rejection]) -> Iterator[Record | Rejection]:
    """Rejects a record with half a character in it, which no UTF-8 file can hold.

    JSON escapes and file names of other encodings bring such halves (lone surrogates) along.
    """
    for item in found:
        if isinstance(item, Record):
            try:
                json.dumps(to_json(item), ensure_ascii=False).encode()
            except UnicodeEncodeError as error:
                half = f"{error.object[error.start : error.end]!a} cannot be written as UTF-8"
                yield reject(item, "bad_field", half)
                continue
        yield item


def with_images(
    found: Iterable[Record | Rejection], examined: Mapping[ImageRef, Examined]
) -> Iterator[Record | Rejection]:
    """Rejects records of bad images; gives the others digest, width, height, and the digest as a default group."""
    for item in found:
        if isinstance(item, Rejection):
            yield item
            continue
        image = examined[item.image]
        if image.reason:
            yield reject(item, image.reason, f"{item.image}: {image.detail}")
        else:
            yield replace(
                item,
                source=replace(item.source, sha256=image.sha256),
                width=image.width,
                height=image.height,
                group=item.group or image.sha256[:16],
            )


def no_image_in_two_splits(found: Iterable[Record | Rejection]) -> Iterator[Record | Rejection]:
    """Rejects a record whose image is also in a split of higher rank: test before validation before train."""
    items = list(found)
    best: dict[str, Record] = {}
    for item in items:
        if isinstance(item, Record):
            other = best.setdefault(item.source.sha256, item)
            if RANK[item.split] > RANK[other.split]:
                best[item.source.sha256] = item
    for item in items:
        if isinstance(item, Record):
            other = best[item.source.sha256]
            if RANK[other.split] > RANK[item.split]:
                detail = f"{item.image} is {other.image} of {other.split}"
                yield reject(item, "image_in_other_split", detail)
                continue
        yield item


def unique_pairs(found: Iterable[Record | Rejection]) -> Iterator[Record | Rejection]:
    """Rejects a record whose image and caption, compared without case, an earlier one has."""
    first: dict[tuple[str, str], str] = {}
    for item in found:
        if isinstance(item, Record):
            pair = (item.source.sha256, item.caption.casefold())
            earlier = first.setdefault(pair, item.id)
            if earlier != item.id:
                yield reject(item, "duplicate_pair", f"{item.image}: the same pair as {earlier}")
                continue
        yield item


def captions_in_two_splits(records: Iterable[Record]) -> int:
    """How many records have a caption, compared without case, that also stands in another split."""
    splits: dict[str, set[str]] = defaultdict(set)
    count: dict[str, int] = defaultdict(int)
    for record in records:
        caption = record.caption.casefold()
        splits[caption].add(record.split)
        count[caption] += 1
    return sum(count[caption] for caption, found in splits.items() if len(found) > 1)
