"""Filters over the pairs of a source: each rejects pairs, or reports those that the policy keeps.

No filter reads pixels: images are identified by their digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from fdrd.build_config import BuildConfig
from fdrd.curation.pair_table import Integers, Keys, PairTable
from fdrd.curation.source_contents import Item
from fdrd.images.perceptual import FLAWS
from fdrd.policy import Policy, reject
from fdrd.reasons import REASONS
from fdrd.record import Record, all_texts
from fdrd.text.tokens import TokenLengths


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


def unique_ids(pairs: PairTable) -> None:
    """Reject each record with the id of an earlier one."""
    rows = pairs.rows
    first = rows[first_equal(pairs["id"][rows])]
    repeated = first != rows
    for row, at in zip(rows[repeated].tolist(), first[repeated].tolist(), strict=True):
        earlier = pairs.in_source(at)
        pairs.reject(row, "duplicate_id", f"{earlier.id} is the id of {earlier.source.origin}")


def good_images(pairs: PairTable) -> None:
    """Reject records with bad images."""
    rows = pairs.rows
    for row in rows[pairs.images["bad"][pairs["image"][rows]]].tolist():
        found = pairs.contents.images[pairs["image"][row]]
        pairs.reject(row, found.check.reason, f"{found.image}: {found.check.detail}")


def within_limits(pairs: PairTable, config: BuildConfig) -> None:
    """Apply the policy to records whose image or caption exceeds a size limit; the first one counts."""
    rows = pairs.rows
    image, length = pairs["image"][rows], pairs["length"][rows]
    width, height = pairs.images["width"][image], pairs.images["height"][image]
    short, long = np.minimum(width, height), np.maximum(width, height)

    def shown(row: int, limit: str) -> str:
        image = pairs["image"][row]
        size = "{} x {}".format(*(pairs.images[side][image] for side in ("width", "height")))
        return f"{pairs.in_source(row).image}: {size} pixels, the limit is {limit}"

    problems = [
        ("image_too_large", width * height > config.max_pixels,
         lambda row: shown(row, f"{config.max_pixels} in all")),
        ("image_too_small", short < config.min_side,
         lambda row: shown(row, f"{config.min_side} for the shorter side")),
        ("image_too_narrow", long > config.max_aspect * short,
         lambda row: shown(row, f"{config.max_aspect:g} to 1")),
        ("caption_missing", length == 0,
         lambda _: "nothing of the caption can be seen"),
        ("caption_too_long", length > config.max_caption,
         lambda row: f"{pairs['length'][row]} characters, the limit is {config.max_caption}"),
    ]  # fmt: skip
    earlier = np.zeros(len(rows), bool)
    for reason, exceeded, detail in problems:
        pairs.apply_policy(rows[exceeded & ~earlier], reason, detail, config.policy)
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
    rows = pairs.rows
    pairs.apply_policy(
        rows[lengths.counts[rows] > lengths.limit],
        "caption_over_tokens",
        lambda row: (
            f"{lengths.counts[row]} tokens of {lengths.name}, the tower reads {lengths.limit}"
        ),
        policy,
    )


def unique_pairs(pairs: PairTable, policy: Policy) -> None:
    """Apply the policy to records that repeat image and caption of an earlier one, ignoring case."""
    rows = pairs.rows
    _, caption = np.unique(pairs["folded"][rows], return_inverse=True)
    first = first_equal(pairs["digest"][rows] * len(rows) + caption)

    def detail(row: int) -> str:
        earlier = rows[first[np.searchsorted(rows, row)]]
        return f"{pairs.in_source(row).image}: the same pair as {pairs.in_source(earlier).id}"

    repeated = rows[first != np.arange(len(rows))]
    pairs.apply_policy(repeated, "duplicate_pair", detail, policy)


def first_equal(keys: Integers | Keys) -> Integers:
    """Return (N,) the index of the first of equal keys.

    >>> first_equal(np.array([5, 7, 5, 5])).tolist()
    [0, 1, 0, 0]
    """
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return np.asarray(first[inverse])
