"""Assign splits: keep given ones, take a missing validation split from train, hash a source without splits.

The split of a group depends only on the seed and the group, not on other groups or the order of records.
There is one exception: a category that would lose all of its training data gets one group back. If the images of most
categories are single ones, this would leave nothing to measure: such categories are divided between the splits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fdrd.curation.leaks import image_links
from fdrd.curation.near_duplicates import NearImages, components
from fdrd.curation.pair_table import SPLIT_OF, Integers, PairTable

VALIDATION_SHARE = 0.1  # of train, if the source has no validation split
TEST_SHARE = 0.2  # of all records, if the source has no splits
SPLIT_BY_IMAGE = "split_by_image"
"""Rule of records whose category is in one split only, because it has one unit."""
_FEW = 10  # units: fewer categories with a single one stay in train
_NONE, _TRAIN, _VALIDATION, _TEST = map(SPLIT_OF.index, ("", "train", "validation", "test"))


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


class Units:
    """The units that stay in one split, after links: the index of each record's unit, and their names."""

    def __init__(
        self, pairs: PairTable, index_of: Integers, first: Integers, names: dict[int, str]
    ):
        self.index_of = index_of
        self._pairs = pairs
        self._first = first
        self._names = names

    def name(self, unit: int) -> str:
        """Return the name of a unit."""
        return self._names.get(unit) or self._pairs.unit(self._first[unit])


def linked_units(pairs: PairTable, graphs: Sequence[NearImages[int]]) -> Units:
    """Return the units of the kept records. Units that share an image or a copy of one become one unit.

    It has the least of their names.
    """
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
) -> npt.NDArray[np.int64]:
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
