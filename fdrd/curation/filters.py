"""Filters over the records of a source: each passes a record on or rejects it.

Filters that take a policy let it decide (`fdrd.policy.apply_policy`). No filter reads pixels: images are
identified by the digest in `record.source.sha256`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec.structs import replace

from fdrd.build_config import BuildConfig
from fdrd.curation.source_contents import Item
from fdrd.images.check import ImageCheck
from fdrd.images.perceptual import visible_flaw
from fdrd.policy import Policy, apply_policy, reject
from fdrd.reasons import REASONS, Rejection
from fdrd.record import ImageRef, Record, all_texts


def unique_ids(items: Iterable[Item]) -> Iterator[Item]:
    """Reject each record with the id of an earlier one."""
    origin: dict[str, str] = {}
    for item in items:
        if isinstance(item, Record):
            if item.id in origin:
                yield reject(item, "duplicate_id", f"{item.id} is the id of {origin[item.id]}")
                continue
            origin[item.id] = item.source.origin
        yield item


def encodable(items: Iterable[Item]) -> Iterator[Item]:
    """Reject each record with a lone surrogate, which UTF-8 cannot represent.

    Lone surrogates come from JSON escapes and from file names in other encodings.
    """
    for item in items:
        if isinstance(item, Record):
            try:
                "".join(all_texts(item)).encode()
            except UnicodeEncodeError as error:
                half = f"{error.object[error.start : error.end]!a} cannot be written as UTF-8"
                yield reject(item, "bad_field", half)
                continue
        yield item


def attach_checks(items: Iterable[Item], checks: Mapping[ImageRef, ImageCheck]) -> Iterator[Item]:
    """Reject records with bad images; add digest, width, height and display rules to the others."""
    for item in items:
        if isinstance(item, Rejection):
            yield item
            continue
        image = checks[item.image]
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


def within_limits(items: Iterable[Item], config: BuildConfig) -> Iterator[Item]:
    """Apply the policy to records whose image or caption exceeds a size limit."""
    for item in items:
        if isinstance(item, Record):
            problem = _size_problem(item, config)
            yield apply_policy(item, *problem, config.policy) if problem else item
        else:
            yield item


def without_visible_flaws(
    items: Iterable[Item], checks: Mapping[ImageRef, ImageCheck], policy: Policy
) -> Iterator[Item]:
    """Apply the policy to records whose image is uniform, of low contrast, or blurred."""
    flaw: dict[str, str] = {}
    for item in items:
        if isinstance(item, Record):
            features = checks[item.image].features
            if features not in flaw:
                flaw[features] = visible_flaw(features) if features else ""
            if reason := flaw[features]:
                yield apply_policy(item, reason, f"{item.image}: {REASONS[reason]}", policy)
                continue
        yield item


def unique_pairs(items: Iterable[Item], policy: Policy) -> Iterator[Item]:
    """Apply the policy to records that repeat image and caption of an earlier one, ignoring case."""
    first: dict[tuple[str, str], str] = {}
    for item in items:
        if isinstance(item, Record):
            pair = (item.source.sha256, item.caption.casefold())
            earlier = first.setdefault(pair, item.id)
            if earlier != item.id:
                detail = f"{item.image}: the same pair as {earlier}"
                yield apply_policy(item, "duplicate_pair", detail, policy)
                continue
        yield item


def _size_problem(record: Record, config: BuildConfig) -> tuple[str, str] | None:
    """Return the first exceeded limit as reason and detail."""
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
