"""Decide which records are kept and in which split, and why the others are rejected.

This needs the whole source at once, because a leak between splits shows only when both sides are known. Each filter
rejects pairs, or reports those that the policy keeps. None reads pixels: images are identified by their digest.
"""

from functools import partial

import numpy as np

from fdrd.build_config import BuildConfig
from fdrd.curation import splitting
from fdrd.curation.near_duplicates import NearImages, link_near_images
from fdrd.curation.pair_table import Integers, Keys, PairTable
from fdrd.images.perceptual import FLAWS
from fdrd.progress import Progress
from fdrd.reasons import REASONS, Policy
from fdrd.text.tokens import TokenLengths


def decide(
    pairs: PairTable, config: BuildConfig, lengths: TokenLengths, progress: Progress
) -> None:
    """Decide about all pairs. A record with several problems is reported for the first one."""
    policy = config.policy
    unique_ids(pairs)
    good_images(pairs)
    within_limits(pairs, config)
    without_visible_flaws(pairs, policy)
    within_tokens(pairs, lengths, policy)
    graphs = _near_images(pairs, progress)
    splitting.assign_splits(pairs, graphs, config.seed)
    splitting.no_image_in_two_splits(pairs, policy)
    for near in graphs:
        splitting.no_near_image_in_two_splits(pairs, near, policy)
    splitting.no_group_in_two_splits(pairs, policy)
    unique_pairs(pairs, policy)
    splitting.no_caption_in_two_splits(pairs, policy)
    for near in graphs:
        splitting.no_near_image_in_a_split(pairs, near, policy)
    splitting.assign_groups(pairs, graphs)


def _near_images(pairs: PairTable, progress: Progress) -> tuple[NearImages[int], ...]:
    digests, features = pairs.features()
    total = len(digests)
    progress("comparing images", 0, total)
    near, mirrored = link_near_images(digests.tolist(), features)
    counts = f"{len(near.node):,} have a near duplicate, {len(mirrored.node):,} a mirrored or turned copy"
    progress(f"comparing images | {counts}", total, total)
    return near, mirrored


def unique_ids(pairs: PairTable) -> None:
    """Reject each record with the id of an earlier one."""
    rows = pairs.rows
    first = rows[_first_equal(pairs["id"][rows])]
    repeated = first != rows
    for row, earlier_row in zip(rows[repeated].tolist(), first[repeated].tolist(), strict=True):
        earlier = pairs.in_source(earlier_row)
        pairs.reject(row, "duplicate_id", f"{earlier.id} is the id of {earlier.source.origin}")


def good_images(pairs: PairTable) -> None:
    """Reject records with bad images."""
    rows = pairs.rows
    for row in rows[pairs.images["bad"][pairs["image"][rows]]].tolist():
        checked = pairs.contents.images[pairs["image"][row]]
        pairs.reject(row, checked.check.reason, f"{checked.image}: {checked.check.detail}")


def within_limits(pairs: PairTable, config: BuildConfig) -> None:
    """Apply the policy to records whose image or caption exceeds a size limit; the first one counts."""
    rows = pairs.rows
    image, length = pairs["image"][rows], pairs["length"][rows]
    width, height = pairs.images["width"][image], pairs.images["height"][image]
    short, long = np.minimum(width, height), np.maximum(width, height)
    limits = {
        "image_too_large": f"{config.max_pixels} in all",
        "image_too_small": f"{config.min_side} for the shorter side",
        "image_too_narrow": f"{config.max_aspect:g} to 1",
    }

    def detail(reason: str, row: int) -> str:
        if reason == "caption_missing":
            return "nothing of the caption can be seen"
        if reason == "caption_too_long":
            return f"{pairs['length'][row]} characters, the limit is {config.max_caption}"
        image = pairs["image"][row]
        size = f"{pairs.images['width'][image]} x {pairs.images['height'][image]}"
        return f"{pairs.in_source(row).image}: {size} pixels, the limit is {limits[reason]}"

    problems = {
        "image_too_large": width * height > config.max_pixels,
        "image_too_small": short < config.min_side,
        "image_too_narrow": long > config.max_aspect * short,
        "caption_missing": length == 0,
        "caption_too_long": length > config.max_caption,
    }
    earlier = np.zeros(len(rows), bool)
    for reason, exceeded in problems.items():
        affected = rows[exceeded & ~earlier]
        pairs.apply_policy(affected, reason, partial(detail, reason), config.policy)
        earlier |= exceeded


def without_visible_flaws(pairs: PairTable, policy: Policy) -> None:
    """Apply the policy to records whose image is uniform, of low contrast, or blurred."""

    def detail(row: int) -> str:
        reason = FLAWS[pairs.images["flaw"][pairs["image"][row]]]
        return f"{pairs.in_source(row).image}: {REASONS[reason]}"

    rows = pairs.rows
    flaw = pairs.images["flaw"][pairs["image"][rows]]
    for index, reason in enumerate(FLAWS):
        if reason:
            pairs.apply_policy(rows[flaw == index], reason, detail, policy)


def within_tokens(pairs: PairTable, lengths: TokenLengths, policy: Policy) -> None:
    """Apply the policy to records whose caption the text tower would truncate."""

    def detail(row: int) -> str:
        return f"{lengths.counts[row]} tokens of {lengths.name}, the tower reads {lengths.limit}"

    rows = pairs.rows
    truncated = rows[lengths.counts[rows] > lengths.limit]
    pairs.apply_policy(truncated, "caption_over_tokens", detail, policy)


def unique_pairs(pairs: PairTable, policy: Policy) -> None:
    """Apply the policy to records that repeat image and caption of an earlier one, ignoring case."""
    rows = pairs.rows
    _, caption = np.unique(pairs["folded"][rows], return_inverse=True)
    first = _first_equal(pairs["digest"][rows] * len(rows) + caption)

    def detail(row: int) -> str:
        earlier = rows[first[np.searchsorted(rows, row)]]
        return f"{pairs.in_source(row).image}: the same pair as {pairs.in_source(earlier).id}"

    repeated = rows[first != np.arange(len(rows))]
    pairs.apply_policy(repeated, "duplicate_pair", detail, policy)


def _first_equal(keys: Integers | Keys) -> Integers:
    """Return (N,) the index of the first of equal keys.

    >>> _first_equal(np.array([5, 7, 5, 5])).tolist()
    [0, 1, 0, 0]
    """
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return np.asarray(first[inverse])
