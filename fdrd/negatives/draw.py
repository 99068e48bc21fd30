"""Draw the hard negatives of a record, as a pure function of record, catalog, seed and epoch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice

from fdrd.negatives.catalog import Catalog
from fdrd.negatives.category_swap import category_swaps
from fdrd.negatives.given import plain
from fdrd.negatives.seeded_random import SeededRandom
from fdrd.record import Negative, Record
from fdrd.text.grammar import with_article


def draw_negatives(
    record: Record,
    captions_of_image: Collection[str],
    catalog: Catalog,
    *,
    k: int = 4,
    n_attribute: int = 0,
    seed: int = 0,
    epoch: int = 0,
) -> tuple[Negative, ...]:
    """Draw up to `k` distinct hard negatives, category swaps first.

    None equals a caption of the image or names the record's own category under another spelling.

    Args:
        record: only id, caption, category and attributes are used.
        captions_of_image: all true captions of the image.
        catalog: of the record's domain.
        k: number of negatives. Fewer are returned if the caption does not allow more.
        n_attribute: how many of them swap an attribute. If one kind runs out, the other fills in.
        seed: changes all draws.
        epoch: changes the draws of a training epoch.
    """
    seen = set(map(plain, {record.caption, *captions_of_image}))
    n_category = k - min(k, n_attribute)
    of_category = category_swaps(
        record, catalog, n_category, SeededRandom(seed, epoch, record.id, "category")
    )
    new_category = _new(of_category, seen)
    drawn = list(islice(new_category, n_category))
    if n_attribute > 0:
        random = SeededRandom(seed, epoch, record.id, "attribute", 0)
        new_attribute = _new(_attribute_swaps(record, catalog, random), seen)
        attributes = list(islice(new_attribute, k - len(drawn)))
        drawn += islice(new_category, k - len(drawn) - len(attributes))
        drawn += attributes
    return tuple(drawn)


def _attribute_swaps(record: Record, catalog: Catalog, random: SeededRandom) -> Iterator[Negative]:
    """Yield negatives in which one attribute value is replaced by a contrasting one."""
    for span, value in catalog.edits.order(record, random):
        if record.caption[span.start].isupper():
            value = value[:1].upper() + value[1:]
        before = with_article(record.caption[: span.start], value)
        caption = before + value + record.caption[span.end :]
        yield Negative(caption, record.category, "attribute", span.type)


def _new(negatives: Iterable[Negative], seen: set[str]) -> Iterator[Negative]:
    for negative in negatives:
        text = plain(negative.caption)
        if text not in seen:
            seen.add(text)
            yield negative
