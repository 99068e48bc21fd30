"""Random numbers that depend on names alone: no state is shared, so no order matters."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


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

    def uniform(self) -> float:
        """A number in (0, 1)."""
        return float(self.uniforms(1)[0])

    def uniforms(self, size: int) -> npt.NDArray[np.float64]:
        """Numbers in (0, 1)."""
        stream = self._key.copy()
        stream.update(b"%d" % self._used)
        self._used += 1
        return (np.frombuffer(stream.digest(4 * size), "<u4") + 0.5) * 2.0**-32

    def index(self, size: int) -> int:
        """A number in `range(size)`."""
        return int(self.uniform() * size)

    def weighted(self, running: Sequence[int]) -> int:
        """An index, drawn with the weights whose running sum is `running`."""
        return bisect_right(running, self.uniform() * running[-1]) if len(running) > 1 else 0

    def race(self, size: int) -> npt.NDArray[np.float64]:
        """Gumbel noise: added to log odds, the highest K are K draws without replacement."""
        return np.asarray(-np.log(-np.log(self.uniforms(size))))
