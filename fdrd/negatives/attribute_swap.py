"""Attribute swaps: one attribute of the caption is made wrong, its category stays.

`AttributeSwapper` is the seam: `value_swaps` (word lists), `predicate_swaps` (what another caption of the
category says), `model_swaps` (values that a masked language model proposes) and `rewritten` (captions that
a chat model writes) are interchangeable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from fdrd.negatives.catalogue import Catalogue
from fdrd.negatives.draws import Draws
from fdrd.negatives.values import contrasting, same_meaning
from fdrd.record import Attribute, Negative, Record
from fdrd.text.grammar import with_article
from fdrd.text.mentions import find_mentions

AttributeSwapper = Callable[[Record, Catalogue, Draws], Iterable[Negative]]
"""Gives attribute negatives of a record, the most wanted first; those of no use are dropped later."""


def value_swaps(record: Record, catalogue: Catalogue, draws: Draws) -> Iterator[Negative]:
    """One value replaced by another that excludes it."""
    for span, value in catalogue.edits.order(record, draws):
        yield _replaced(record, span, value)


def predicate_swaps(record: Record, catalogue: Catalogue, draws: Draws) -> Iterator[Negative]:
    """The caption up to its first mention, then what another caption of the category says after its own.

    Only where the two go on with the same word, and the other says something that this one excludes.
    """
    place = catalogue.place.get(record.category)
    if place is None:
        return
    category = catalogue.categories[place]
    mentions = find_mentions(record.caption, category.pattern)
    if not mentions:
        return
    head, tail = record.caption[: mentions[0].end], record.caption[mentions[0].end :]
    own = [(a.type, a.value.lower()) for a in record.attributes if a.start >= mentions[0].end]
    pool = category.predicates
    for number in draws.race(len(pool)).argsort(kind="stable").tolist() if pool else []:
        predicate = pool[number]
        if predicate.text.split()[:1] == tail.split()[:1] and any(
            type_ == kind and contrasting(type_, value, other)
            for type_, value in own
            for kind, other in predicate.values
        ):
            yield Negative(head + predicate.text, record.category, "attribute", "predicate")


def model_swaps(propose: Callable[[str, Attribute], Sequence[str]]) -> AttributeSwapper:
    """A swapper out of a model that proposes values for a span, for instance a masked language model.

    Args:
        propose: (caption, attribute) -> values to stand in its place, best first; one that means
            the same as the true one is passed over.
    """

    def swapper(record: Record, catalogue: Catalogue, draws: Draws) -> Iterator[Negative]:
        spans = record.attributes
        for place in draws.race(len(spans)).argsort(kind="stable").tolist() if spans else []:
            for value in propose(record.caption, spans[place]):
                true = spans[place].value.lower()
                if value.strip() and not same_meaning(spans[place].type, true, value.lower()):
                    yield _replaced(record, spans[place], value)
                    break

    return swapper


def rewritten(rewrite: Callable[[Record], Iterable[str]]) -> AttributeSwapper:
    """A swapper out of a model that writes whole captions, wrong in an attribute, for a record."""
    return lambda record, catalogue, draws: (
        Negative(caption, record.category, "attribute") for caption in rewrite(record)
    )


def _replaced(record: Record, span: Attribute, value: str) -> Negative:
    if record.caption[span.start].isupper():
        value = value[:1].upper() + value[1:]
    before = with_article(record.caption[: span.start], value)
    caption = before + value + record.caption[span.end :]
    return Negative(caption, record.category, "attribute", span.type)
