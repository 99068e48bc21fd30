"""Decide which records are kept and in which split, and why the others are rejected.

This needs the whole source at once, because a leak between splits shows only when both sides are known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fdrd.build_config import BuildConfig
from fdrd.curation.filters import (
    attach_checks,
    unique_pairs,
    within_limits,
    without_visible_flaws,
)
from fdrd.curation.leaks import (
    assign_groups,
    linked_units,
    no_caption_in_two_splits,
    no_leaks,
    no_near_image_in_a_split,
)
from fdrd.curation.near_duplicates import NearImages, find_near_images
from fdrd.curation.source_contents import Item, SourceContents
from fdrd.curation.splitting import split_domain, split_unit
from fdrd.images.check import ImageCheck
from fdrd.progress import Progress, silent
from fdrd.record import ImageRef, Record
from fdrd.text.tokens import TokenLengths, within_tokens


def decide(
    contents: SourceContents,
    config: BuildConfig,
    lengths: TokenLengths | None = None,
    progress: Progress = silent,
) -> list[Item]:
    """Return the items in order: kept records with image and split, and rejections for all others."""
    usable = within_limits(attach_checks(contents.items, contents.checks), config)
    usable = without_visible_flaws(usable, contents.checks, config.policy)
    items = list(within_tokens(usable, lengths, config.policy))
    graphs = _near_images(items, contents.checks, progress)
    remaining = no_leaks(_split(items, graphs, config.seed), graphs, config.policy)
    remaining = unique_pairs(remaining, config.policy)
    remaining = no_caption_in_two_splits(remaining, config.policy)
    for near in graphs:
        remaining = no_near_image_in_a_split(remaining, near, config.policy)
    return list(assign_groups(remaining, graphs))


def _near_images(
    items: list[Item], checks: Mapping[ImageRef, ImageCheck], progress: Progress
) -> tuple[NearImages, ...]:
    records = [item for item in items if isinstance(item, Record)]
    features = {record.source.sha256: checks[record.image].features for record in records}
    total = len(features)
    progress("comparing images", 0, total)
    near, mirrored = find_near_images(features)
    found = f"{len(near.node):,} have a near duplicate, {len(mirrored.node):,} a mirror image"
    progress(f"comparing images | {found}", total, total)
    return near, mirrored


def _split(items: list[Item], graphs: Sequence[NearImages], seed: int) -> Iterator[Item]:
    """Return the items in order, each record with its split."""
    by_domain: dict[str, list[Record]] = {}
    for item in items:
        if isinstance(item, Record):
            by_domain.setdefault(item.domain, []).append(item)
    linked = linked_units((item for item in items if isinstance(item, Record)), graphs)

    def unit(record: Record) -> str:
        own = split_unit(record)
        return linked.get((record.domain, own), own)

    placed = {
        record.id: record
        for records in by_domain.values()
        for record in split_domain(records, seed, unit)
    }
    return (placed[item.id] if isinstance(item, Record) else item for item in items)
