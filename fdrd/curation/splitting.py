"""Assign splits: keep given ones, take a missing validation split from train, hash a source without splits.

The split of a group depends only on the seed and the group, not on other groups or the order of records.
There is one exception: a category that would lose all of its training data gets one group back.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable

from msgspec.structs import replace

from fdrd.record import Record

VALIDATION_SHARE = 0.1  # of train, if the source has no validation split
TEST_SHARE = 0.2  # of all records, if the source has no splits


def hash_fraction(seed: int, group: str, purpose: str) -> float:
    """Return a pseudo-random number in [0, 1) that depends on the arguments only.

    >>> hash_fraction(0, "a", "test") == hash_fraction(0, "a", "test") != hash_fraction(1, "a", "test")
    True
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_unit(record: Record) -> str:
    """Return the unit that stays in one split: the given group, else the records of one image."""
    return record.group or record.source.sha256[:16]


def split_domain(
    records: Iterable[Record], seed: int, unit: Callable[[Record], str] = split_unit
) -> list[Record]:
    """Return the records of one domain with their splits. Records of one `unit` stay together."""
    records = list(records)
    given = {record.split for record in records} - {""}
    if "" in {record.split for record in records}:
        unsplit = [record for record in records if not record.split]
        for_test = set() if given else _chosen(unsplit, unit, seed, "test", TEST_SHARE)
        records = [
            record
            if record.split
            else replace(record, split="test" if unit(record) in for_test else "train")
            for record in records
        ]
    if "validation" not in given:
        train = [record for record in records if record.split == "train"]
        for_validation = _chosen(train, unit, seed, "validation", VALIDATION_SHARE)
        records = [
            replace(record, split="validation")
            if record.split == "train" and unit(record) in for_validation
            else record
            for record in records
        ]
    return records


def _chosen(
    records: list[Record], unit: Callable[[Record], str], seed: int, purpose: str, size: float
) -> set[str]:
    """Return units with a hash below `size`, leaving at least one unit of each category."""
    groups_of: dict[str, set[str]] = defaultdict(set)
    for record in records:
        groups_of[record.category].add(unit(record))
    values = {
        group: hash_fraction(seed, group, purpose)
        for groups in groups_of.values()
        for group in groups
    }
    chosen = {group for group, value in values.items() if value < size}
    for groups in groups_of.values():
        if groups <= chosen:
            chosen.discard(max(groups, key=lambda group: (values[group], group)))
    return chosen


def sort_key(record: Record) -> bytes:
    """Return the sort key of rows: a hash, so that categories are mixed the same way in every build."""
    return hashlib.sha256(record.id.encode()).digest()
