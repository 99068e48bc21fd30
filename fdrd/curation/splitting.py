"""Splits: assign them, and remove what two splits must not share: images and their copies, groups, captions.

Given splits are kept, a missing validation split is taken from train, and a source without splits is hashed. The split
of a group depends only on the seed and the group, not on other groups or the order of records. There is one exception:
a category that would lose all of its training data gets one group back. If the images of most categories are single
ones, this would leave nothing to measure: such categories are divided between the splits.

Splits have ranks: a record in test takes precedence over one in validation, and that over one in train.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from fdrd.curation.near_duplicates import NearImages, components
from fdrd.curation.pair_table import SPLIT_OF, Integers, Keys, PairTable
from fdrd.reasons import Policy

T = TypeVar("T", bound=Hashable)

CLUSTER = "near-"  # prefix of the group of near duplicates for which the source gives no group
SPLIT_BY_IMAGE = "split_by_image"
"""Rule of records whose category is in one split only, because it has one unit."""
VALIDATION_SHARE = 0.1  # of train, if the source has no validation split
TEST_SHARE = 0.2  # of all records, if the source has no splits
_FEW = 10  # units: fewer categories with a single one stay in train
_NONE, _TRAIN, _VALIDATION, _TEST = map(SPLIT_OF.index, ("", "train", "validation", "test"))
_RANKED = (_TEST, _VALIDATION, _TRAIN)
_RANK = np.array([0, 1, 2, 3])  # by index in `SPLIT_OF`: none, train, validation, test
_LOOKS = {"near": "looks like ", "mirrored": "is a mirrored or turned copy of "}


def hash_fraction(seed: int, group: str, purpose: str) -> float:
    """Return a pseudo-random number in [0, 1) that depends on the arguments only.

    >>> hash_fraction(0, "a", "test") == hash_fraction(0, "a", "test") != hash_fraction(1, "a", "test")
    True
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def assign_splits(pairs: PairTable, graphs: Sequence[NearImages[int]], seed: int) -> None:
    """Give each record a split. Records of one unit stay together, and so do linked units of a domain."""
    units = linked_units(pairs, graphs)
    for domain in range(len(pairs.names["domain"])):
        rows = pairs.rows[pairs["domain"][pairs.rows] == domain]
        present = set(pairs.split[rows].tolist()) - {_NONE}
        unsplit = rows[pairs.split[rows] == _NONE]
        pairs.split[unsplit] = _TRAIN
        if not present:
            single = _of_single_categories(pairs, unsplit, units)
            if len(single):
                mask = pairs.reported.setdefault(SPLIT_BY_IMAGE, np.zeros(len(pairs.kept), bool))
                mask[single] = True
            pairs.split[_chosen(pairs, unsplit, units, seed, "test", TEST_SHARE)] = _TEST
        if _VALIDATION not in present:
            train = rows[pairs.split[rows] == _TRAIN]
            chosen = _chosen(pairs, train, units, seed, "validation", VALIDATION_SHARE)
            pairs.split[chosen] = _VALIDATION


def _of_single_categories(pairs: PairTable, rows: Integers, units: Units) -> Integers:
    """Return the records of categories that have one unit, if these are most units; otherwise none."""
    category, unit = pairs["category"][rows], units.index_of[rows]
    of_unit = np.unique(np.stack([category, unit]), axis=1)[0]
    single = np.bincount(of_unit, minlength=1) == 1
    if np.count_nonzero(single) <= max(_FEW, len(np.unique(unit)) / 2):
        return rows[:0]
    return np.asarray(rows[single[category]])


@dataclass(frozen=True, slots=True)
class Units:
    """The units that stay in one split, after links: `index_of` has the unit of each record."""

    pairs: PairTable
    index_of: Integers
    first: Integers
    names: Mapping[int, str]

    def name(self, unit: int) -> str:
        """Return the name of a unit."""
        return self.names.get(unit) or self.pairs.unit(self.first[unit])


def linked_units(pairs: PairTable, graphs: Sequence[NearImages[int]]) -> Units:
    """Return the units of the kept records. Those that share an image or a copy are one, with the least name."""
    rows = pairs.rows
    _, group = np.unique(pairs["group"][rows], return_inverse=True)
    image = np.where(pairs["group"][rows] > 0, 0, pairs["digest"][rows] + 1)
    keys = (group * (len(pairs.images.digests) + 1) + image) * len(pairs.names["domain"])
    _, first, unit = np.unique(keys + pairs["domain"][rows], return_index=True, return_inverse=True)
    of_image = np.full(len(pairs.images.digests), -1)
    of_image[pairs["digest"][rows[::-1]]] = unit[::-1]
    links = np.unique(np.stack([of_image[pairs["digest"][rows]], unit]), axis=1)
    links = links[:, links[0] != links[1]]
    near = {digest for graph in graphs for digest in graph.node if of_image[digest] >= 0}
    copies = image_links({digest: int(of_image[digest]) for digest in near}, graphs)
    roots: dict[int, int] = components(
        [*zip(*links.tolist(), strict=True), *((one, two) for one, two in copies if one != two)]
    )
    names: dict[int, str] = {}
    for each, root in roots.items():
        name = pairs.unit(rows[first[each]])
        names[root] = min(name, names.get(root, name))
    root_of = np.arange(len(first))
    root_of[list(roots)] = list(roots.values())
    index_of = np.full(len(pairs.kept), -1)
    index_of[rows] = root_of[unit]
    return Units(pairs, index_of, rows[first], names)


def _chosen(
    pairs: PairTable, rows: Integers, units: Units, seed: int, purpose: str, size: float
) -> Integers:
    """Return the records of units with a hash below `size`, leaving one of each category that is not split by image."""
    found, unit = np.unique(units.index_of[rows], return_inverse=True)
    values = np.array([hash_fraction(seed, units.name(each), purpose) for each in found.tolist()])
    chosen = values < size
    category = pairs["category"][rows]
    by_image = pairs.reported.get(SPLIT_BY_IMAGE)
    stays = ~chosen[unit] if by_image is None else ~chosen[unit] | by_image[rows]
    remaining = np.bincount(category, stays, minlength=len(pairs.names["category"]))
    _, begins = np.unique(category, return_index=True)
    # By name: a unit that is given back may belong to several categories.
    for begin in sorted(
        begins.tolist(), key=lambda row: pairs.names["category"][int(category[row])]
    ):
        if not remaining[category[begin]]:
            units_here = np.unique(unit[category == category[begin]])
            if chosen[units_here].all():
                chosen[units_here[values[units_here].argmax()]] = False
    return rows[chosen[unit]]


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


def _in_two_splits(
    pairs: PairTable, rows: Integers, keys: Integers | Keys, reason: str, policy: Policy
) -> None:
    """Apply the policy to each record that shares its key with a record of a split of higher rank."""
    rank = _RANK[pairs.split[rows]]
    order = np.lexsort((-rank, keys))
    _, begins, inverse = np.unique(keys[order], return_index=True, return_inverse=True)
    best = np.empty(len(rows), dtype=np.int64)
    best[order] = order[begins[inverse]]
    lower = rank < rank[best]
    others = dict(zip(rows[lower].tolist(), rows[best[lower]].tolist(), strict=True))
    _apply_policy(pairs, others, reason, policy)


def no_near_image_in_two_splits(pairs: PairTable, near: NearImages[int], policy: Policy) -> None:
    """Apply the policy to records whose image looks like a kept one in a split of higher rank, or mirrors it."""
    reason = f"{near.kind}_image_in_other_split"
    others: dict[int, int] = {}
    kept: _KeptByNode = defaultdict(dict)
    rows = _with_near_images(pairs, near)
    for split in _RANKED:
        here = list(_in_split(pairs, rows, split))
        for row, digest in here:
            if (other := _near_row(digest, near, kept)) is not None:
                others[row] = other
        for row, digest in here:
            if row not in others or policy[reason] == "keep":
                kept[near.node[digest]].setdefault(digest, row)
    _apply_policy(pairs, others, reason, policy, _LOOKS[near.kind])


def no_near_image_in_a_split(pairs: PairTable, near: NearImages[int], policy: Policy) -> None:
    """Apply the policy to images of one split that look alike or mirror each other.

    It concerns the records of all but the largest image (ties by digest and id).
    """
    rows = _with_near_images(pairs, near)
    image, digests = pairs["image"][rows], pairs["digest"][rows]
    area = pairs.images["width"][image] * pairs.images["height"][image]
    ids = [record.id for record in pairs.contents.records.take(rows)]
    order = sorted(range(len(rows)), key=lambda index: (-area[index], digests[index], ids[index]))
    others: dict[int, int] = {}
    for split in _RANKED:
        kept: _KeptByNode = defaultdict(dict)
        for row, digest in _in_split(pairs, rows[order], split):
            if (other := _near_row(digest, near, kept)) is not None:
                others[row] = other
            else:
                kept[near.node[digest]].setdefault(digest, row)
    _apply_policy(pairs, others, f"{near.kind}_image_in_split", policy, _LOOKS[near.kind])


_KeptByNode = dict[int, dict[int, int]]  # by node and digest, a kept record


def _with_near_images(pairs: PairTable, near: NearImages[int]) -> Integers:
    has_node = np.zeros(len(pairs.images.digests), bool)
    has_node[list(near.node)] = True
    return np.flatnonzero(pairs.kept & has_node[pairs["digest"]])


def _in_split(pairs: PairTable, rows: Integers, split: int) -> Iterator[tuple[int, int]]:
    """Yield those of the records that are in a split, with the digest of their image."""
    rows = rows[pairs.split[rows] == split]
    return zip(rows.tolist(), pairs["digest"][rows].tolist(), strict=True)


def _near_row(digest: int, near: NearImages[int], kept: _KeptByNode) -> int | None:
    """Return the first kept record of another image that looks like this one."""
    for node in near.neighbors[near.node[digest]]:
        for other, row in kept.get(node, {}).items():
            if other != digest:
                return row
    return None


def _apply_policy(
    pairs: PairTable, others: Mapping[int, int], reason: str, policy: Policy, looks: str = ""
) -> None:
    """Apply the policy to records, each of which has another one as its reason."""

    def detail(row: int) -> str:
        other = others[row]
        split = f" of {SPLIT_OF[pairs.split[other]]}" if reason.endswith("_other_split") else ""
        return f"{pairs.in_source(row).image}: {looks}{pairs.in_source(other).image}{split}"

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
