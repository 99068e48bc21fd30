"""Random numbers and angles that are identical on every machine and in every release.

Only two generators are used: `random.Random(text).random()`, which Python guarantees never to
change, and the raw words of `PCG64`, which numpy guarantees. Sines come from a table of rounded
numbers, because the last bit of `math.sin` depends on the C library.
"""

import math
import random
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")

TURN = 1024  # steps in a full turn. Angles are integers; 256 is a right angle

# 20 bits: no entry lies within 1e-9 of a rounding boundary, and C libraries err by less than 1e-15.
SINES: tuple[float, ...] = tuple(
    round(math.sin(2 * math.pi * step / TURN) * 2**20) / 2**20 for step in range(TURN)
)


def sine(angle: int) -> float:
    """Return the sine of an angle in steps of `TURN`.

    >>> sine(256), sine(-256), sine(512)
    (1.0, -1.0, 0.0)
    """
    return SINES[angle % TURN]


def cosine(angle: int) -> float:
    """Return the cosine of an angle in steps of `TURN`.

    >>> cosine(0), cosine(256)
    (1.0, 0.0)
    """
    return SINES[(angle + TURN // 4) % TURN]


class Chance:
    """A stream of random numbers determined by its key.

    >>> Chance("demo", 3).below(100) == Chance("demo", 3).below(100)
    True
    """

    def __init__(self, *key: int | str):
        self._key = "/".join(str(part) for part in key)
        self._next = random.Random(self._key).random

    def below(self, limit: int) -> int:
        """Return an integer from 0 to `limit` - 1."""
        return int(self._next() * limit)

    def between(self, low: float, high: float) -> float:
        """Return a number from `low` to `high`."""
        return low + (high - low) * self._next()

    def happens(self, probability: float) -> bool:
        """Return True with this probability."""
        return self._next() < probability

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of the choices, all equally likely."""
        return choices[int(self._next() * len(choices))]

    def weighted(self, choices: Sequence[T], weights: Sequence[int]) -> T:
        """Return one of the choices, by integer weights."""
        ticket = int(self._next() * sum(weights))
        for choice, weight in zip(choices, weights, strict=True):
            ticket -= weight
            if ticket < 0:
                return choice
        raise AssertionError("weights are integers")

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return the items in random order."""
        pool = list(items)
        return [pool.pop(int(self._next() * len(pool))) for _ in range(len(pool))]

    def bytes(self, count: int) -> npt.NDArray[np.uint8]:
        """Return (count,) random bytes."""
        words = np.random.PCG64(int(self._next() * 2**53)).random_raw(count // 8 + 1)
        # Little-endian on every machine, so that the byte order is fixed.
        return words.astype("<u8").view(np.uint8)[:count]
