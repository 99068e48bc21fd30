"""Random numbers that depend on names alone. No state is shared, so the order of draws does not matter."""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# Gumbel noise for every 16-bit number. Two logarithms per number would cost more than the rest of a draw.
_GUMBEL = -np.log(-np.log((np.arange(65536) + 0.5) / 65536))


class SeededRandom:
    """Random numbers determined by `names`, equal on every machine and in every process.

    They come from a hash because initializing `random.Random` costs more than all draws of a caption.

    >>> SeededRandom(0, "pets/1").uniform() == SeededRandom(0, "pets/1").uniform()
    True
    """

    __slots__ = ("_key", "_used")

    def __init__(self, *names: object):
        # repr distinguishes ("a", "b") from ("a, b",) and 1 from "1".
        self._key = hashlib.shake_128(repr(names).encode("utf-8", "backslashreplace"))
        self._used = 0

    def _bytes(self, size: int) -> bytes:
        stream = self._key.copy()
        stream.update(b"%d." % self._used)
        self._used += 1
        return stream.digest(size)

    def uniform(self) -> float:
        """Return a number in (0, 1)."""
        return (int.from_bytes(self._bytes(6), "little") + 0.5) * 2.0**-48

    def weighted(self, running: Sequence[int]) -> int:
        """Return an index, drawn by the weights whose cumulative sum is `running`."""
        return bisect_right(running, self.uniform() * running[-1]) if len(running) > 1 else 0

    def gumbel(self, size: int) -> npt.NDArray[np.float64]:
        """Return Gumbel noise. Added to log odds, the K largest are K draws without replacement."""
        return _GUMBEL.take(np.frombuffer(self._bytes(2 * size), "<u2"))
