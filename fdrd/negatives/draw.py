"""Draws the hard negatives of a record: a pure function of the record, its catalogue, the seed and the epoch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice

from fdrd.negatives.attribute_swap import AttributeSwapper, value_swaps
from fdrd.negatives.catalogue import Catalogue
from fdrd.negatives.category_swap import category_swaps
from fdrd.negatives.draws import Draws
from fdrd.negatives.given import plain
from fdrd.record import Negative, Record


def draw_negatives(
    record: Record,
    captions_of_image: Collection[str],
    catalogue: Catalogue,
    *,
    k: int = 4,
    n_attribute: int = 0,
    seed: int = 0,
    epoch: int = 0,
    swappers: Sequence[AttributeSwapper] = (value_swaps,),
) -> tuple[Negative, ...]:
    """Up to `k` hard negatives, category swaps first.

    None equals the record's caption, another caption of its image or another negative, and none names a
    category that is the record's own under another spelling. Fewer come back where the caption does not
    offer more.

    Args:
        record: only id, caption, category and attributes count.
        captions_of_image: all captions that are right for the image.
        catalogue: of the record's domain.
        k: how many are wanted.
        n_attribute: how many of them swap an attribute; where the caption does not have so many, category
            swaps take their place, and the other way round.
        seed: moves all draws.
        epoch: moves the draws of a training epoch.
        swappers: give the attribute swaps, each where those before it have no more.
    """
    seen = {plain(caption) for caption in (record.caption, *captions_of_image)}

    def attributes() -> Iterator[Negative]:
        for number, swapper in enumerate(swappers):
            yield from swapper(
                record, catalogue, Draws(seed, epoch, record.id, "attribute", number)
            )

    n_category = k - min(k, n_attribute)
    swaps = category_swaps(record, catalogue, n_category, Draws(seed, epoch, record.id, "category"))
    of_category, of_attribute = _new(swaps, seen), _new(attributes(), seen)
    drawn = list(islice(of_category, n_category))
    if n_attribute > 0:
        wrong = list(islice(of_attribute, k - len(drawn)))
        drawn += islice(of_category, k - len(drawn) - len(wrong))
        drawn += wrong
    return tuple(drawn)


def _new(negatives: Iterable[Negative], seen: set[str]) -> Iterator[Negative]:
    """The negatives that are none of the captions seen before."""
    for negative in negatives:
        text = plain(negative.caption)
        if text not in seen:
            seen.add(text)
            yield negative
