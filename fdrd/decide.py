"""Decides over all that was gathered: which records are kept, in which split, and why the others are not.

It needs the whole source at once: a leak between splits is seen from both sides only.
"""

from __future__ import annotations

from collections.abc import Iterator

from fdrd.build_config import BuildConfig
from fdrd.clean import clean, with_images
from fdrd.gather import Gathered, Item
from fdrd.record import Record
from fdrd.split import split_domain


def decide(gathered: Gathered, config: BuildConfig) -> list[Item]:
    """The items in their order: kept records with image and split, rejections for all others."""
    items = list(with_images(gathered.items, gathered.examined))
    return list(clean(_split(items, config.seed), config.policy))


def _split(items: list[Item], seed: int) -> Iterator[Item]:
    """The items in their order, each record with its split."""
    by_domain: dict[str, list[Record]] = {}
    for item in items:
        if isinstance(item, Record):
            by_domain.setdefault(item.domain, []).append(item)
    placed = {
        record.id: record
        for records in by_domain.values()
        for record in split_domain(records, seed)
    }
    return (placed[item.id] if isinstance(item, Record) else item for item in items)
