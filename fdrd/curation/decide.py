"""Decide which records are kept and in which split, and why the others are rejected.

This needs the whole source at once, because a leak between splits shows only when both sides are known.
"""

from __future__ import annotations

from fdrd.build_config import BuildConfig
from fdrd.curation import filters, leaks
from fdrd.curation.near_duplicates import NearImages, link_near_images
from fdrd.curation.pair_table import PairTable
from fdrd.curation.splitting import assign_splits
from fdrd.progress import Progress
from fdrd.text.tokens import TokenLengths


def decide(
    pairs: PairTable, config: BuildConfig, lengths: TokenLengths, progress: Progress
) -> None:
    """Decide about all pairs."""
    policy = config.policy
    filters.unique_ids(pairs)
    filters.good_images(pairs)
    filters.within_limits(pairs, config)
    filters.without_visible_flaws(pairs, policy)
    filters.within_tokens(pairs, lengths, policy)
    graphs = _near_images(pairs, progress)
    assign_splits(pairs, graphs, config.seed)
    # A record with several problems is reported for the first one.
    leaks.no_image_in_two_splits(pairs, policy)
    for near in graphs:
        leaks.no_near_image_in_two_splits(pairs, near, policy)
    leaks.no_group_in_two_splits(pairs, policy)
    filters.unique_pairs(pairs, policy)
    leaks.no_caption_in_two_splits(pairs, policy)
    for near in graphs:
        leaks.no_near_image_in_a_split(pairs, near, policy)
    leaks.assign_groups(pairs, graphs)


def _near_images(pairs: PairTable, progress: Progress) -> tuple[NearImages[int], ...]:
    digests, features = pairs.features()
    total = len(digests)
    progress("comparing images", 0, total)
    near, mirrored = link_near_images(digests.tolist(), features)
    found = f"{len(near.node):,} have a near duplicate, {len(mirrored.node):,} a mirrored or turned copy"
    progress(f"comparing images | {found}", total, total)
    return near, mirrored
