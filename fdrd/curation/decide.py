"""Decides over all that was gathered: which records are kept, in which split, and why the others are not.

It needs the whole source at once: a leak between splits is seen from both sides only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fdrd.build_config import BuildConfig
from fdrd.curation.filters import sized, unique_pairs, with_images
from fdrd.curation.leaks import (
    joined_units,
    no_caption_in_two_splits,
    no_leaks,
    no_near_image_in_a_split,
    with_groups,
)
from fdrd.curation.near_duplicates import NearImages, find_near
from fdrd.curation.source_contents import Item, SourceContents
from fdrd.curation.splitting import split_domain, split_unit
from fdrd.images.check import ImageCheck
from fdrd.progress import Progress, silent
from fdrd.record import ImageRef, Record
from fdrd.text.tokens import TokenLengths, within_tokens


def decide(
    gathered: SourceContents,
    config: BuildConfig,
    lengths: TokenLengths | None = None,
    progress: Progress = silent,
) -> list[Item]:
    """The items in their order: kept records with image and split, rejections for all others."""
    usable = sized(with_images(gathered.items, gathered.examined), config)
    items = list(within_tokens(usable, lengths, config.policy))
    near = _near(items, gathered.examined, progress)
    found = no_leaks(_split(items, near, config.seed), near, config.policy)
    found = unique_pairs(found, config.policy)
    found = no_caption_in_two_splits(found, config.policy)
    found = no_near_image_in_a_split(found, near, config.policy)
    return list(with_groups(found, near))


def _near(
    items: list[Item], examined: Mapping[ImageRef, ImageCheck], progress: Progress
) -> NearImages:
    """Which images of the records look alike."""
    records = [item for item in items if isinstance(item, Record)]
    look_of = {record.source.sha256: examined[record.image].look for record in records}
    progress("comparing images", 0, len(look_of))
    near = find_near(look_of)
    progress(f"comparing images | {len(near.look):,} look like another", len(look_of), len(look_of))
    return near


def _split(items: list[Item], near: NearImages, seed: int) -> Iterator[Item]:
    """The items in their order, each record with its split."""
    by_domain: dict[str, list[Record]] = {}
    for item in items:
        if isinstance(item, Record):
            by_domain.setdefault(item.domain, []).append(item)
    joined = joined_units((item for item in items if isinstance(item, Record)), near)

    def unit(record: Record) -> str:
        own = split_unit(record)
        return joined.get((record.domain, own), own)

    placed = {
        record.id: record
        for records in by_domain.values()
        for record in split_domain(records, seed, unit)
    }
    return (placed[item.id] if isinstance(item, Record) else item for item in items)
