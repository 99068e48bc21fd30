"""Random numbers and angles that are the same on every machine and in every release.

Python promises that `random.Random(text).random()` never changes, and numpy that the raw words of
`PCG64` never change; nothing else of either module is used. Sines come from one table of rounded
numbers, since the last bit of `math.sin` belongs to the C library.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")

TURN = 1024
"""Steps in a full turn: angles are whole numbers of them, 256 is a right angle."""

# Twenty bits: every entry lies more than 1e-9 from the next rounding boundary, a C library's sine
# less than 1e-15 from the truth, so that all of them round to the same table.
SINES: tuple[float, ...] = tuple(
    round(math.sin(2 * math.pi * step / TURN) * 2**20) / 2**20 for step in range(TURN)
)


def sine(angle: int) -> float:
    """The sine of an angle in steps of `TURN`.

    >>> sine(256), sine(-256), sine(512)
    (1.0, -1.0, 0.0)
    """
    return SINES[angle % TURN]


def cosine(angle: int) -> float:
    """The cosine of an angle in steps of `TURN`.

    >>> cosine(0), cosine(256)
    (1.0, 0.0)
    """
    return SINES[(angle + TURN // 4) % TURN]


class Chance:
    """A stream of random numbers that its key alone decides.

    >>> Chance("demo", 3).below(100) == Chance("demo", 3).below(100)
    True
    """

    def __init__(self, *key: int | str):
        self._key = "/".join(str(part) for part in key)
        self._next = random.Random(self._key).random

    def below(self, limit: int) -> int:
        """A whole number from 0 to `limit` - 1."""
        return int(self._next() * limit)

    def between(self, low: float, high: float) -> float:
        """A number from `low` to `high`."""
        return low + (high - low) * self._next()

    def happens(self, probability: float) -> bool:
        """True with this probability."""
        return self._next() < probability

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices, all equally likely."""
        return choices[int(self._next() * len(choices))]

    def weighted(self, choices: Sequence[T], weights: Sequence[int]) -> T:
        """One of the choices, by whole-numbered weights."""
        ticket = int(self._next() * sum(weights))
        for choice, weight in zip(choices, weights, strict=True):
            ticket -= weight
            if ticket < 0:
                return choice
        raise AssertionError("weights are whole numbers")

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in random order."""
        pool = list(items)
        return [pool.pop(int(self._next() * len(pool))) for _ in range(len(pool))]

    def bytes(self, count: int) -> npt.NDArray[np.uint8]:
        """(count,) random bytes."""
        words = np.random.PCG64(int(self._next() * 2**53)).random_raw(count // 8 + 1)
        # Little-endian on every machine, so that the order of the bytes is one.
        return words.astype("<u8").view(np.uint8)[:count]
