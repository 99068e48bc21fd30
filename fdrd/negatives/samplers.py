"""How near two categories are, and how often one is drawn as a negative of the other.

Each sampler gives a symmetric (C, C) array of weights over the catalogue's categories, in its order.
`balanced` turns the weights into odds that a blind reader cannot use: as often as a category is the true
one, it is a wrong one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fdrd.negatives.mentions import key

Floats = npt.NDArray[np.float64]


def uniform(names: Sequence[str]) -> Floats:
    """All categories alike."""
    return np.ones((len(names), len(names)))


def similar_names(names: Sequence[str], temperature: float = 0.1) -> Floats:
    """Categories whose names share letter triples are drawn more often (Dice similarity)."""
    grams = [Counter(_triples(key(name))) for name in names]
    alike = np.eye(len(names))
    for i, one in enumerate(grams):
        for j in range(i):
            shared = (one & grams[j]).total()
            alike[i, j] = alike[j, i] = 2 * shared / max(1, one.total() + grams[j].total())
    return _softmax_weights(alike, temperature)


def similar_features(features: npt.ArrayLike, temperature: float = 0.1) -> Floats:
    """Categories whose text features point the same way are drawn more often.

    Args:
        features: (C, d), for instance CLIP's features of "a photo of <category>"; any length.
        temperature: of the softmax over cosines.
    """
    rows = np.asarray(features, dtype=np.float64)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return _softmax_weights(rows @ rows.T, temperature)


def meta_group(names: Sequence[str], groups: Mapping[str, str]) -> Floats:
    """Only categories of the same meta-category; a category without one is in a group of its own."""
    of = [groups.get(name) or f"\0{name}" for name in names]
    return np.array([[float(one == other) for other in of] for one in of]).reshape(len(of), len(of))


def confused(table: npt.ArrayLike, floor: float = 0.01) -> Floats:
    """Categories that a method takes for each other.

    Args:
        table: (C, C) counts; `table[i][j]` images of category i were given a caption of category j.
        floor: what a pair without a mistake counts, so that K negatives can always be drawn.
    """
    counts = np.asarray(table, dtype=np.float64)
    return counts + counts.T + floor


def balanced(weights: Floats, counts: Sequence[int], rounds: int = 200) -> Floats:
    """Odds (C, C) of drawing category j for a caption of category i; the diagonal is 0.

    The weights are scaled to a symmetric table of pairs whose margins are the categories' shares of the
    captions (Sinkhorn). So (true, wrong) is as frequent as (wrong, true), and knowing which categories
    are common tells nothing. Where no such table exists (two categories in a group, one the more common)
    the result is the nearest that the rounds reach.
    """
    pairs = np.array(weights, dtype=np.float64)
    np.fill_diagonal(pairs, 0.0)
    share = np.maximum(np.asarray(counts, dtype=np.float64), 1.0)
    share /= share.sum()
    scale = np.sqrt(share)
    for _ in range(rounds):
        reached = np.maximum((pairs * scale).sum(axis=1), 1e-300)
        # The geometric mean of the old and the new scale converges where plain alternation swings.
        scale = np.sqrt(scale * share / reached)
    return pairs * scale


def unbalanced(weights: Floats) -> Floats:
    """The weights as odds, without regard to how common the categories are."""
    odds = np.array(weights, dtype=np.float64)
    np.fill_diagonal(odds, 0.0)
    return odds


def _softmax_weights(alike: Floats, temperature: float) -> Floats:
    # The weight of a pair is taken against the nearest other category, so none underflows to nothing.
    apart = alike - np.where(np.eye(len(alike), dtype=bool), -np.inf, alike).max(initial=-1.0)
    return np.asarray(np.exp(np.clip(apart, -20 * temperature, 0) / temperature))


def _triples(name: str) -> list[str]:
    padded = f"  {name} "
    return [padded[i : i + 3] for i in range(len(padded) - 2)]
