"""Remove what two splits must not share, or what one split repeats: images and their copies, groups, captions.

Splits have ranks: a record in test takes precedence over one in validation, and that over one in train.
The result does not depend on the order of the records.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from fdrd.curation.near_duplicates import NearImages, components
from fdrd.curation.pair_table import SPLIT_OF, Integers, Keys, PairTable
from fdrd.policy import Policy
from fdrd.record import Split

T = TypeVar("T", bound=Hashable)

RANKED: tuple[Split, ...] = ("test", "validation", "train")
RANK = np.array([0, 1, 2, 3])  # by index in `SPLIT_OF`: none, train, validation, test
CLUSTER = "near-"
"""Prefix of the group of near duplicates for which the source gives no group."""
_LOOKS = {"near": "looks like", "mirrored": "is a mirrored or turned copy of"}


def no_image_in_two_splits(pairs: PairTable, policy: Policy) -> None:
    """Apply the policy to records whose image is also in a split of higher rank."""
    rows = pairs.rows
    _in_two_splits(pairs, rows, pairs["digest"][rows], "image_in_other_split", policy)


def no_group_in_two_splits(pairs: PairTable, policy: Policy) -> None:
    """Apply the policy to records whose given group is also in a split of higher rank of the domain."""
    rows = pairs.rows[pairs["group"][pairs.rows] > 0]
    _, group = np.unique(pairs["group"][rows], return_inverse=True)
    keys = group * len(pairs.names["domain"]) + pairs["domain"][rows]
    _in_two_splits(pairs, rows, keys, "group_in_other_split", policy)


def no_caption_in_two_splits(pairs: PairTable, policy: Policy) -> None:
    """Apply the policy to records whose caption, ignoring case, is also in a split of higher rank."""
    rows = pairs.rows
    _in_two_splits(pairs, rows, pairs["folded"][rows], "caption_in_other_split", policy)


def no_near_image_in_two_splits(pairs: PairTable, near: NearImages[int], policy: Policy) -> None:
    """Apply the policy to records whose image looks like a kept one in a split of higher rank, or mirrors it."""
    reason = f"{near.kind}_image_in_other_split"
    others: dict[int, int] = {}
    # By node and digest, the kept records of higher splits.
    kept: dict[int, dict[int, int]] = defaultdict(dict)
    rows = _with_near_images(pairs, near)
    for split in RANKED:
        kept_here = []
        for row, digest in _in_split(pairs, rows, split):
            other = _near_row(digest, near, kept)
            if other is not None:
                others[row] = other
            if other is None or policy[reason] == "keep":
                kept_here.append((row, digest))
        for row, digest in kept_here:
            kept[near.node[digest]].setdefault(digest, row)

    def detail(row: int) -> str:
        other = others[row]
        shown = f"{pairs.in_source(other).image} of {SPLIT_OF[pairs.split[other]]}"
        return f"{pairs.in_source(row).image}: {_LOOKS[near.kind]} {shown}"

    pairs.apply_policy(np.array(sorted(others), dtype=np.int64), reason, detail, policy)


def no_near_image_in_a_split(pairs: PairTable, near: NearImages[int], policy: Policy) -> None:
    """Apply the policy to records whose image looks like one of the same split, or mirrors it.

    The one with the most pixels is left alone.
    """
    others: dict[int, int] = {}
    rows = _with_near_images(pairs, near)
    image, digests = pairs["image"][rows], pairs["digest"][rows]
    area = pairs.images["width"][image] * pairs.images["height"][image]
    ids = [record.id for record in pairs.contents.records.take(rows)]
    order = sorted(range(len(rows)), key=lambda at: (-area[at], digests[at], ids[at]))
    rows = rows[order]
    for split in RANKED:
        kept: dict[int, dict[int, int]] = defaultdict(dict)
        for row, digest in _in_split(pairs, rows, split):
            other = _near_row(digest, near, kept)
            if other is not None:
                others[row] = other
            else:
                kept[near.node[digest]].setdefault(digest, row)

    def detail(row: int) -> str:
        return f"{pairs.in_source(row).image}: {_LOOKS[near.kind]} {pairs.in_source(others[row]).image}"

    reason = f"{near.kind}_image_in_split"
    pairs.apply_policy(np.array(sorted(others), dtype=np.int64), reason, detail, policy)


def assign_groups(pairs: PairTable, graphs: Sequence[NearImages[int]]) -> None:
    """Give records without a group one: that of their near and mirrored duplicates, else that of their image."""
    digests = np.unique(pairs["digest"][pairs.rows]).tolist()
    links = image_links(dict(zip(digests, digests, strict=True)), graphs)
    roots = components((one, other) for one, other in links if one != other)
    least: dict[int, int] = {}
    for digest, root in roots.items():
        least[root] = min(digest, least.get(root, digest))
    pairs.clusters = {
        digest: CLUSTER + pairs.images.name(least[root])[:16] for digest, root in roots.items()
    }


def image_links(
    of_image: Mapping[int, T], graphs: Iterable[NearImages[int]]
) -> Iterator[tuple[T, T]]:
    """Link the values, by image digest, of images that look alike or mirror each other."""
    for near in graphs:
        of_node: dict[int, T] = {}
        for digest, node in near.node.items():
            if digest in of_image:
                value = of_image[digest]
                yield of_node.setdefault(node, value), value
        for node, value in of_node.items():
            yield from ((value, of_node[each]) for each in near.neighbors[node] if each in of_node)


def _in_two_splits(
    pairs: PairTable, rows: Integers, keys: Integers | Keys, reason: str, policy: Policy
) -> None:
    """Apply the policy to each record that shares its key with a record of a split of higher rank."""
    rank = RANK[pairs.split[rows]]
    order = np.lexsort((-rank, keys))
    _, begins, inverse = np.unique(keys[order], return_index=True, return_inverse=True)
    best = np.empty(len(rows), dtype=np.int64)
    best[order] = order[begins[inverse]]
    lower = rank < rank[best]
    other_of = dict(zip(rows[lower].tolist(), rows[best[lower]].tolist(), strict=True))

    def detail(row: int) -> str:
        other = other_of[row]
        return f"{pairs.in_source(row).image}: {pairs.in_source(other).image} of {SPLIT_OF[pairs.split[other]]}"

    pairs.apply_policy(rows[lower], reason, detail, policy)


def _with_near_images(pairs: PairTable, near: NearImages[int]) -> Integers:
    """Return the kept records whose image looks like another."""
    has_node = np.zeros(len(pairs.images.digests), bool)
    has_node[list(near.node)] = True
    return np.flatnonzero(pairs.kept & has_node[pairs["digest"]])


def _in_split(pairs: PairTable, rows: Integers, split: Split) -> Iterator[tuple[int, int]]:
    """Yield those of the records that are in a split, with the digest of their image."""
    rows = rows[pairs.split[rows] == SPLIT_OF.index(split)]
    return zip(rows.tolist(), pairs["digest"][rows].tolist(), strict=True)


def _near_row(
    digest: int, near: NearImages[int], kept: Mapping[int, Mapping[int, int]]
) -> int | None:
    """Return the first kept record of another image that looks like this one."""
    for node in near.neighbors[near.node[digest]]:
        for other, row in kept.get(node, {}).items():
            if other != digest:
                return row
    return None
