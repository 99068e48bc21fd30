"""Draw the hard negatives of a record, as a pure function of record, catalog, seed and epoch."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from itertools import islice

from fdrd.negatives.catalog import Catalog
from fdrd.negatives.category_swap import category_swaps
from fdrd.negatives.given import plain
from fdrd.negatives.seeded_random import SeededRandom
from fdrd.negatives.values import stated
from fdrd.record import Attribute, Negative, Record, id_in_domain
from fdrd.text.attributes import find_attributes
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
        record: only id, domain, caption, category and attributes are used.
        captions_of_image: all true captions of the image.
        catalog: catalog of the record's domain.
        k: number of negatives. Fewer are returned if the caption does not allow more.
        n_attribute: number of attribute swaps among them. If one kind runs out, the other fills in.
        seed: seed of all draws.
        epoch: training epoch, which changes the draws.
    """
    return draw_batch(
        [record],
        [_true(record, captions_of_image)],
        catalog,
        k=[k],
        n_attribute=n_attribute,
        seed=seed,
        epoch=epoch,
    )[0]


def draw_batch(
    records: Sequence[Record],
    true_texts: Sequence[Container[str]],
    catalog: Catalog,
    *,
    k: Sequence[int],
    n_attribute: int = 0,
    seed: int = 0,
    epoch: int = 0,
) -> list[tuple[Negative, ...]]:
    """Return what `draw_negatives` returns for each of N records of a domain, in less time.

    Args:
        records: N records.
        true_texts: (N,) the true texts of each image: captions in the form of `fdrd.negatives.given.plain`, and if it
            has several, what they state (`stated`).
        catalog: catalog of the domain.
        k: (N,) number of negatives.
        n_attribute: number of attribute swaps among them.
        seed: seed of all draws.
        epoch: training epoch, which changes the draws.
    """

    def randoms(*names: object) -> list[SeededRandom]:
        return [SeededRandom(seed, epoch, id_in_domain(record), *names) for record in records]

    n_category = [each - min(each, n_attribute) for each in k]
    of_category = category_swaps(records, catalog, n_category, randoms("category"))
    of_attribute: Sequence[Iterator[Negative]] = [iter(()) for _ in records]
    if n_attribute > 0:
        edits = catalog.edits.orders(records, randoms("attribute", 0))
        of_attribute = list(map(_attribute_swaps, records, edits, true_texts))
    return [
        _chosen(
            {plain(record.caption)},
            true,
            each,
            first,
            category,
            attribute,
        )
        for record, true, each, first, category, attribute in zip(
            records, true_texts, k, n_category, of_category, of_attribute, strict=True
        )
    ]


def _chosen(
    seen: set[str],
    true: Container[str],
    k: int,
    n_category: int,
    of_category: Iterator[Negative],
    of_attribute: Iterator[Negative],
) -> tuple[Negative, ...]:
    """Return up to `k` new negatives, `n_category` of them category swaps unless one kind runs out."""
    of_category, of_attribute = _new(of_category, seen, true), _new(of_attribute, seen, true)
    category = list(islice(of_category, n_category))
    attribute = list(islice(of_attribute, k - len(category)))
    category += islice(of_category, k - len(category) - len(attribute))
    return (*category, *attribute)


def _true(record: Record, captions: Collection[str]) -> set[str]:
    """Return the true texts of the image of a record."""
    texts = {plain(caption) for caption in captions}
    if len(texts) > 1:
        for caption in captions:
            texts.update(map(stated, find_attributes(caption, record.category)))
    return texts


def _attribute_swaps(
    record: Record, edits: Iterable[tuple[Attribute, str]], true: Container[str]
) -> Iterator[Negative]:
    """Yield negatives in which one attribute value is replaced by one that no caption of the image has."""
    for span, value in edits:
        if stated(Attribute(span.type, value, 0, 0)) in true:
            continue
        if record.caption[span.start].isupper():
            value = value[:1].upper() + value[1:]
        before = with_article(record.caption[: span.start], value)
        caption = before + value + record.caption[span.end :]
        yield Negative(caption, record.category, "attribute", span.type)


def _new(negatives: Iterable[Negative], seen: set[str], true: Container[str]) -> Iterator[Negative]:
    for negative in negatives:
        text = plain(negative.caption)
        if text not in seen and text not in true:
            seen.add(text)
            yield negative
