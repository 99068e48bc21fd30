"""How near two categories are: what makes one a likely negative of the other.

A sampler gives a symmetric (C, C) array of weights over the sorted names of the categories. 0 means
never; the diagonal does not matter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fdrd.text.mentions import key

Floats = npt.NDArray[np.float64]
Sampler = Callable[[Sequence[str]], Floats]


def uniform(names: Sequence[str]) -> Floats:
    """All categories alike.

    >>> uniform(["cat", "dog"]).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    return np.ones((len(names), len(names)))


def similar(features: npt.ArrayLike | None = None, temperature: float = 0.1) -> Sampler:
    """Categories that are alike are drawn more often: exp(similarity / temperature).

    Args:
        features: (C, d), for instance CLIP's features of "a photo of <category>", of any length; the
            similarity is their cosine. Without them it is the share of letter triples that two names
            have in common (Dice).
        temperature: the lower, the harder the negatives.
    """

    def sampler(names: Sequence[str]) -> Floats:
        alike = _alike_names(names) if features is None else _cosines(features)
        if alike.shape != (len(names), len(names)):
            raise ValueError(f"features of {len(alike)} categories for a catalogue of {len(names)}")
        # Beyond e^-20 the weights are as good as never, but K negatives can still be drawn.
        return np.asarray(np.exp(np.maximum((alike - 1) / temperature, -20)))

    return sampler


def meta_group(groups: Mapping[str, str]) -> Sampler:
    """Only categories of the same meta-category; one without a meta-category has no negatives.

    >>> meta_group({"cat": "pet", "dog": "pet"})(["cat", "dog", "van"]).tolist()
    [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """

    def sampler(names: Sequence[str]) -> Floats:
        of = np.array([groups.get(name, "") for name in names])
        return np.asarray((of[:, None] == of[None, :]) & (of != ""), dtype=np.float64)

    return sampler


def confused(table: npt.ArrayLike, floor: float = 0.01) -> Sampler:
    """Categories that a method takes for each other.

    Args:
        table: (C, C) counts; `table[i][j]` images of category i were given a caption of category j.
        floor: what a pair without a mistake counts, so that K negatives can always be drawn.
    """
    counts = np.asarray(table, dtype=np.float64)
    return lambda names: counts + counts.T + floor


def _cosines(features: npt.ArrayLike) -> Floats:
    rows = np.asarray(features, dtype=np.float64)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return np.asarray(rows @ rows.T)


def _alike_names(names: Sequence[str]) -> Floats:
    grams = [Counter(_triples(key(name))) for name in names]
    alike = np.eye(len(names))
    for i, one in enumerate(grams):
        for j in range(i):
            shared = (one & grams[j]).total()
            alike[i, j] = alike[j, i] = 2 * shared / max(1, one.total() + grams[j].total())
    return alike


def _triples(name: str) -> list[str]:
    padded = f"  {name} "
    return [padded[i : i + 3] for i in range(len(padded) - 2)]
