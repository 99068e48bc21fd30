"""The odds with which each category is drawn for a caption, and the bias that balances them.

Three things multiply: the sampler's weight of the pair of categories, what the caption's words say of the
category (`context`), and one bias per category. The bias is set so that a category is as often a wrong
answer as it is the right one; else a blind reader learns which names are merely common.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fdrd.negatives.context import STEP, Context, Descriptions, fit_context
from fdrd.negatives.draws import Draws
from fdrd.negatives.samplers import Floats

_NEVER = -(1 << 40)
_UNLIKELY = round(
    -12 / STEP
)  # the least that a pair which is possible counts, against the likeliest
_ROUNDS = 40
_BALANCED_FOR = (1, 2, 4, 8)  # numbers of negatives: the more, the more rare ones come along
_MOST_CELLS = 4_000_000  # captions times categories that the balance looks at
_MOST_BIAS = 24.0
_FIRST = 24  # places that are sorted at once; a caption rarely needs more


@dataclass(frozen=True, slots=True)
class Odds:
    """The odds of a domain.

    Attributes:
        pairs: (C, C) log weights of the sampler in units of `STEP`; `_NEVER` where the weight is 0 or
            two names are spellings of one.
        bias: (4, C) in units of `STEP`, for 1, 2, 4, and 8 or more negatives.
        context: None if the caption's words shall not count.
    """

    pairs: npt.NDArray[np.int64]
    bias: npt.NDArray[np.int64]
    context: Context | None

    def scores(self, own: int, words: Iterable[str], k: int) -> npt.NDArray[np.int64]:
        """(C,) log odds, in units of `STEP`, for a caption of the category at place `own`.

        Args:
            own: place of the true category.
            words: around the mentions of the category (`fdrd.negatives.context.around`).
            k: how many negatives are wanted.
        """
        scores = self.pairs[own]
        if self.context:
            scores = scores + self.context.scores(words)
        possible = scores > _NEVER // 2
        scores = np.maximum(scores - scores.max(initial=_NEVER), _UNLIKELY)
        scores += self.bias[bisect_left(_BALANCED_FOR, min(k, _BALANCED_FOR[-1]))]
        return np.where(possible, scores, _NEVER)

    def feed(self, update: Callable[[bytes], None]) -> None:
        """Hands everything that a draw depends on to the `update` of a digest."""
        update(self.pairs.tobytes() + self.bias.tobytes())
        if self.context:
            self.context.feed(update)

    def order(self, own: int, words: Iterable[str], k: int, draws: Draws) -> Iterator[int]:
        """Places of wrong categories, drawn by their odds without replacement; of which `k` are wanted."""
        keys = self.scores(own, words, k) * -STEP
        keys -= draws.race(len(keys))
        possible = np.count_nonzero(keys < _NEVER * -STEP / 2)
        head = keys.argpartition(_FIRST)[:_FIRST] if len(keys) > _FIRST else np.arange(len(keys))
        yield from head[keys[head].argsort(kind="stable")].tolist()[:possible]
        yield from keys.argsort(kind="stable").tolist()[_FIRST:possible]


def make_odds(weights: Floats, captions: Descriptions, *, in_context: bool, balance: bool) -> Odds:
    """The odds of C things of which captions describe one each.

    Args:
        weights: (C, C) of the sampler; 0 where one is no wrong answer for the other.
        captions: those that name their thing.
        in_context: whether the words around count.
        balance: whether to draw each thing as often as it is the true one.
    """
    pairs = np.full(weights.shape, _NEVER, dtype=np.int64)
    pairs[weights > 0] = np.round(np.log(weights[weights > 0]) / STEP).astype(np.int64)
    context = fit_context(captions, len(weights)) if in_context and captions else None
    bias = np.zeros((len(_BALANCED_FOR), len(weights)), dtype=np.int64)
    odds = Odds(pairs, bias, context)
    return _balanced(odds, captions) if balance else odds


def _balanced(odds: Odds, captions: Descriptions) -> Odds:
    """The odds with a bias by which each thing is a negative as often as it is the true one.

    Only a part of the captions is looked at where they are many, always the same.
    """
    size = len(odds.pairs)
    seen = captions.every(1 + len(captions) * size // _MOST_CELLS)
    if len(seen) < 2 or size < 3:
        return odds
    whole = np.stack([odds.scores(place, words, 1) for place, words in seen])
    scores: Floats = whole.astype(np.float64) * STEP
    possible = scores > _NEVER // 2 * STEP
    # RandomState never changes its stream; noise and highest K as in `order`.
    scores += np.random.RandomState(0).gumbel(size=scores.shape)
    wanted = np.bincount([place for place, _ in seen], minlength=size)
    biases = [_bias(scores, possible, wanted, min(k, size - 1)) for k in _BALANCED_FOR]
    return Odds(odds.pairs, np.round(np.array(biases) / STEP).astype(np.int64), odds.context)


def _bias(
    scores: Floats, possible: npt.NDArray[np.bool_], wanted: npt.NDArray[np.int64], k: int
) -> Floats:
    """(C,) what to add to the scores (N, C) so that the highest `k` hold each thing `k` times `wanted`."""
    bias = np.zeros(scores.shape[1])
    for _ in range(_ROUNDS):
        now = scores + bias
        least = np.partition(now, -k, axis=1)[:, -k:] if k > 1 else now.max(axis=1, keepdims=True)
        got = np.count_nonzero((now >= least[:, :1]) & possible, axis=0) / k
        bias += 0.5 * np.log((wanted + 0.25) / (got + 0.25))
        bias = np.clip(bias, -_MOST_BIAS, _MOST_BIAS)
    return bias
