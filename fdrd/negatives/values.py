"""The attribute values of a domain's captions: what can stand in the place of a value."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from fdrd.record import Record


@dataclass(frozen=True, slots=True)
class Values:
    """How often each value occurs, by type."""

    frequency: Mapping[str, Mapping[str, int]]
    digest: str


class ValueCounter:
    """Counts the attribute values of records."""

    def __init__(self) -> None:
        self._frequency: dict[str, Counter[str]] = {}

    def add(self, record: Record) -> None:
        """Counts the values of one record."""
        for attribute in record.attributes:
            self._frequency.setdefault(attribute.type, Counter())[attribute.value.lower()] += 1

    def freeze(self) -> Values:
        """What was counted."""
        frequency = {type_: dict(sorted(f.items())) for type_, f in sorted(self._frequency.items())}
        return Values(frequency, hashlib.sha256(repr(frequency).encode()).hexdigest())


def count_values() -> ValueCounter:
    """An empty counter."""
    return ValueCounter()
