"""Random numbers that depend on names alone: no state is shared, so no order matters."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# All values that 16 bits can choose; two logarithms per number would cost more than the rest of a draw.
_GUMBEL = -np.log(-np.log((np.arange(65536) + 0.5) / 65536))


class Draws:
    """Numbers fixed by `names`, the same on every machine and in every process.

    They are read off a hash: to fill the state of `random.Random` would cost more than the drawing.

    >>> Draws(0, "pets/1").uniform() == Draws(0, "pets/1").uniform()
    True
    """

    __slots__ = ("_key", "_used")

    def __init__(self, *names: object):
        # repr keeps ("a", "b") apart from ("a, b",) and 1 apart from "1".
        self._key = hashlib.shake_128(repr(names).encode("utf-8", "backslashreplace"))
        self._used = 0

    def _bytes(self, size: int) -> bytes:
        stream = self._key.copy()
        stream.update(b"%d." % self._used)
        self._used += 1
        return stream.digest(size)

    def uniform(self) -> float:
        """A number in (0, 1)."""
        return (int.from_bytes(self._bytes(6), "little") + 0.5) * 2.0**-48

    def index(self, size: int) -> int:
        """A number in `range(size)`."""
        return int(self.uniform() * size)

    def weighted(self, running: Sequence[int]) -> int:
        """An index, drawn with the weights whose running sum is `running`."""
        return bisect_right(running, self.uniform() * running[-1]) if len(running) > 1 else 0

    def race(self, size: int) -> npt.NDArray[np.float64]:
        """Gumbel noise: added to log odds, the highest K are K draws without replacement."""
        return _GUMBEL.take(np.frombuffer(self._bytes(2 * size), "<u2"))
