"""Splits: given ones are kept, a missing validation split is carved from train, a source without any is hashed.

Which side a group falls on depends on the seed and the group alone, so neither the order of the records
nor other groups move it; only a category that would lose all of its train takes one group back.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace

from fdrd.record import Record

VALIDATION_SHARE = 0.1  # of train, where the source has no validation split
TEST_SHARE = 0.2  # of all, where the source has no split at all


def share(seed: int, group: str, purpose: str) -> float:
    """A number in [0, 1) that depends on its arguments alone.

    >>> share(0, "a", "test") == share(0, "a", "test") != share(1, "a", "test")
    True
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_unit(record: Record) -> str:
    """What a split must not tear apart: the given group, else all records of the image."""
    return record.group or record.source.sha256[:16]


def split_domain(
    records: Iterable[Record], seed: int, unit: Callable[[Record], str] = split_unit
) -> list[Record]:
    """The records of one domain, each with its split; `unit` says what must not be torn apart."""
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
    records: list[Record], unit: Callable[[Record], str], seed: int, purpose: str, wanted: float
) -> set[str]:
    """Units whose share is below `wanted`, less what a category needs to keep one group."""
    groups_of: dict[str, set[str]] = defaultdict(set)
    for record in records:
        groups_of[record.category].add(unit(record))
    shares = {
        group: share(seed, group, purpose) for groups in groups_of.values() for group in groups
    }
    chosen = {group for group, value in shares.items() if value < wanted}
    for groups in groups_of.values():
        if groups <= chosen:
            chosen.discard(max(groups, key=lambda group: (shares[group], group)))
    return chosen


def order(record: Record) -> str:
    """The key that rows are sorted by: mixed over categories, the same on every build."""
    return hashlib.sha256(record.id.encode()).hexdigest()
