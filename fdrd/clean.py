"""Filters over the records of a whole source: each passes a record on, or says why not.

Those that take a policy leave it to the policy whether the record stays (`fdrd.policy.settle`).

They see no pixels: an image is known by the digest in `record.source.sha256`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import replace

from fdrd.images import Examined
from fdrd.policy import Policy, reject, settle
from fdrd.reasons import Rejection
from fdrd.record import ImageRef, Record, Split, texts
from fdrd.split import split_unit

RANK: dict[Split, int] = {"test": 3, "validation": 2, "train": 1, "": 0}


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
                "".join(texts(item)).encode()
            except UnicodeEncodeError as error:
                half = f"{error.object[error.start : error.end]!a} cannot be written as UTF-8"
                yield reject(item, "bad_field", half)
                continue
        yield item


def with_images(
    found: Iterable[Record | Rejection], examined: Mapping[ImageRef, Examined]
) -> Iterator[Record | Rejection]:
    """Rejects records of bad images; gives the others digest, width and height."""
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
            )


def clean(found: Iterable[Record | Rejection], policy: Policy) -> Iterator[Record | Rejection]:
    """All filters over records that have their image's digest and their split, in the order of their reports."""
    found = no_image_in_two_splits(found, policy)
    found = no_group_in_two_splits(found, policy)
    found = unique_pairs(found, policy)
    found = no_caption_in_two_splits(found, policy)
    return (with_group(item) if isinstance(item, Record) else item for item in found)


def no_image_in_two_splits(
    found: Iterable[Record | Rejection], policy: Policy
) -> Iterator[Record | Rejection]:
    """Settles a record whose image is also in a split of higher rank: test before validation before train."""
    return _in_two_splits(
        found, "image_in_other_split", lambda record: record.source.sha256, policy
    )


def no_group_in_two_splits(
    found: Iterable[Record | Rejection], policy: Policy
) -> Iterator[Record | Rejection]:
    """Settles a record of a given group that is also in a split of higher rank, within a domain."""
    return _in_two_splits(
        found,
        "group_in_other_split",
        lambda record: (record.domain, record.group or record.id),
        policy,
    )


def no_caption_in_two_splits(
    found: Iterable[Record | Rejection], policy: Policy
) -> Iterator[Record | Rejection]:
    """Settles a record whose caption, compared without case, also stands in a split of higher rank."""
    return _in_two_splits(
        found, "caption_in_other_split", lambda record: record.caption.casefold(), policy
    )


def unique_pairs(
    found: Iterable[Record | Rejection], policy: Policy
) -> Iterator[Record | Rejection]:
    """Settles a record whose image and caption, compared without case, an earlier one has."""
    first: dict[tuple[str, str], str] = {}
    for item in found:
        if isinstance(item, Record):
            pair = (item.source.sha256, item.caption.casefold())
            earlier = first.setdefault(pair, item.id)
            if earlier != item.id:
                detail = f"{item.image}: the same pair as {earlier}"
                yield settle(item, "duplicate_pair", detail, policy)
                continue
        yield item


def with_group(record: Record) -> Record:
    """The record with its image as its group, where the source gives none."""
    return replace(record, group=split_unit(record))


def _in_two_splits(
    found: Iterable[Record | Rejection],
    reason: str,
    key: Callable[[Record], Hashable],
    policy: Policy,
) -> Iterator[Record | Rejection]:
    """Settles each record that shares its key with one of a split of higher rank."""
    items = list(found)
    best: dict[Hashable, Record] = {}
    for item in items:
        if isinstance(item, Record):
            other = best.setdefault(key(item), item)
            if RANK[item.split] > RANK[other.split]:
                best[key(item)] = item
    for item in items:
        if isinstance(item, Record):
            other = best[key(item)]
            if RANK[other.split] > RANK[item.split]:
                detail = f"{item.image}: {other.image} of {other.split}"
                yield settle(item, reason, detail, policy)
                continue
        yield item
