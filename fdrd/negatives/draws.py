"""A stream of random numbers that depends on names alone: no state is shared, so no order matters."""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_right
from collections.abc import Sequence

_EIGHT_WORDS = struct.Struct("<8Q")


class Draws:
    """Numbers fixed by `names`, the same on every machine and in every process.

    One BLAKE2b block gives eight draws. `random.Random(seed)` would cost about ten times as much per
    caption, since it fills 2.5 kB of state before the first number.

    >>> Draws(0, "pets/1").uniform() == Draws(0, "pets/1").uniform()
    True
    """

    __slots__ = ("_block", "_key", "_words")

    def __init__(self, *names: object):
        # repr keeps ("a", "b") apart from ("a, b",) and 1 apart from "1".
        self._key = hashlib.blake2b(repr(names).encode("utf-8", "surrogatepass"), digest_size=32)
        self._block = 0
        self._words: list[int] = []

    def uniform(self) -> float:
        """A number in [0, 1)."""
        if not self._words:
            block = self._key.copy()
            block.update(self._block.to_bytes(8, "little"))
            seed = block.digest()
            self._words = list(_EIGHT_WORDS.unpack(hashlib.blake2b(seed).digest()))
            self._block += 1
        return (self._words.pop() >> 11) * 2.0**-53

    def index(self, size: int) -> int:
        """A number in `range(size)`."""
        return int(self.uniform() * size)

    def weighted(self, cumulative: Sequence[float]) -> int:
        """An index, drawn with the weights whose running sum is `cumulative`."""
        place = bisect_right(cumulative, self.uniform() * cumulative[-1])
        return min(place, len(cumulative) - 1)
