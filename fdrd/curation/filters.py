"""Filters over the records of a whole source: each passes a record on, or says why not.

Those that take a policy leave it to the policy whether the record stays (`fdrd.policy.settle`).

They see no pixels: an image is known by the digest in `record.source.sha256`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from fdrd.build_config import BuildConfig
from fdrd.images.check import ImageCheck
from fdrd.policy import Policy, reject, settle
from fdrd.reasons import Rejection
from fdrd.record import ImageRef, Record, texts


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
    found: Iterable[Record | Rejection], examined: Mapping[ImageRef, ImageCheck]
) -> Iterator[Record | Rejection]:
    """Rejects records of bad images; gives the others digest, width, height, and what must be done to see them."""
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
                rules=(*item.rules, *image.rules),
            )


def sized(found: Iterable[Record | Rejection], config: BuildConfig) -> Iterator[Record | Rejection]:
    """Settles records whose image, or whose caption, has a size out of the limits."""
    for item in found:
        if isinstance(item, Record):
            flaw = _size_flaw(item, config)
            yield settle(item, *flaw, config.policy) if flaw else item
        else:
            yield item


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


def _size_flaw(record: Record, config: BuildConfig) -> tuple[str, str] | None:
    """The first reason against a record's sizes, and its detail."""
    width, height = record.width, record.height
    shown = f"{record.image}: {width} x {height} pixels"
    short, long = sorted((width, height))
    if width * height > config.max_pixels:
        return "image_too_large", f"{shown}, the limit is {config.max_pixels} in all"
    if short < config.min_side:
        return "image_too_small", f"{shown}, the limit is {config.min_side} for the shorter side"
    if long > config.max_aspect * short:
        return "image_too_narrow", f"{shown}, the limit is {config.max_aspect:g} to 1"
    if not record.caption:
        return "caption_missing", "nothing of the caption can be seen"
    if len(record.caption) > config.max_caption:
        size = len(record.caption)
        return "caption_too_long", f"{size} characters, the limit is {config.max_caption}"
    return None
