"""The edits that make one attribute of a caption wrong, and their odds.

An edit replaces value v at a span by value w. Its odds combine what the words around the span suggest
(`fdrd.negatives.context`) and a factor of w over the factor of v. The factors are fitted so that each value
is inserted as often as it is removed. Then neither the frequency of a value nor its presence helps a
text-only model. Edits without a way back ("green leaves" to "green stones" if no caption of flowers has
stones) almost never occur.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fdrd.negatives.context import MIN_LOG_ODDS, STEP, Context, Descriptions, beside, fit_context
from fdrd.negatives.seeded_random import SeededRandom
from fdrd.negatives.values import contrasting, contrasting_values, same_meaning, swappable
from fdrd.record import Attribute, Record, TaggedCaption
from fdrd.text.mentions import Mention

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_ROUNDS = 40
_NEGATIVES = 2  # attribute negatives per caption for which the odds are balanced
_MAX_CELLS = 4_000_000
_MAX_FACTOR = 24.0


@dataclass(frozen=True, slots=True)
class Edits:
    """The V attribute values of a domain and the odds of each replacement."""

    values: tuple[tuple[str, str], ...]
    """(type, value in lower case), sorted"""
    place: Mapping[tuple[str, str], int]
    """index of each value"""
    others: tuple[Integers, ...]
    """for each value, the indices of the values that can replace it"""
    gain: tuple[Integers, ...]
    """for each of these, the log of its factor over the value's factor, in units of `STEP`"""
    context: Context

    def orders(
        self, records: Sequence[Record], randoms: Sequence[SeededRandom]
    ) -> list[Iterator[tuple[Attribute, str]]]:
        """Return iterators over the edits of N records, drawn by their odds without replacement.

        One edit at each span comes first, then the second ones.
        """
        spans = [self.spans(record) for record in records]
        own = [place for _, places in spans for place in places]
        near = [
            rows
            for record, (of_record, _) in zip(records, spans, strict=True)
            for rows in self.near(record, of_record)
        ]
        if not own:
            return [iter(()) for _ in records]
        row, column, scores = self.scores(own, near)
        ends = np.searchsorted(row, np.cumsum([len(places) for _, places in spans]))
        found, start, first = [], 0, 0
        for record, (of_record, _), end, random in zip(
            records, spans, ends.tolist(), randoms, strict=True
        ):
            here = slice(start, end)
            keys = scores[here] * STEP + random.gumbel(end - start)
            found.append(self._in_order(record, of_record, row[here] - first, column[here], keys))
            start, first = end, first + len(of_record)
        return found

    def _in_order(
        self,
        record: Record,
        spans: Sequence[Attribute],
        row: Integers,
        column: Integers,
        keys: Floats,
    ) -> Iterator[tuple[Attribute, str]]:
        """Yield edits, each given by the number of its span and the index of its value, by falling keys."""
        waiting = (-keys).argsort(kind="stable").tolist()
        while waiting:
            done, later = set(), []
            for edit in waiting:
                if row[edit] in done:
                    later.append(edit)
                    continue
                span, value = spans[row[edit]], self.values[column[edit]][1]
                if not _is_repeated(record, span, value):
                    done.add(row[edit])
                    yield span, value
            waiting = later

    def spans(self, record: Record | TaggedCaption) -> tuple[list[Attribute], list[int]]:
        """Return the attributes that can be edited, and the indices of their values."""
        places = [self.place.get(_value(span), -1) for span in record.attributes]
        return (
            [span for span, index in zip(record.attributes, places, strict=True) if index >= 0],
            [index for index in places if index >= 0],
        )

    def near(self, record: Record | TaggedCaption, spans: Sequence[Attribute]) -> list[list[int]]:
        """Return, for each span, the rows of the context for what suggests its value: always equally many."""
        return [self.context.rows(_near(record, span)) for span in spans]

    def scores(
        self, own: Sequence[int] | Integers, near: Sequence[Sequence[int]] | Integers
    ) -> tuple[Integers, Integers, Integers]:
        """Return span number, value index and log odds (in units of `STEP`) of all edits of S spans.

        Args:
            own: (S,) the index of each span's value.
            near: (S, W) the rows of each span (`near`).
        """
        sizes = np.array([len(self.others[value]) for value in own])
        row = np.arange(len(own)).repeat(sizes)
        column = np.concatenate([self.others[value] for value in own])
        scores = np.concatenate([self.gain[value] for value in own])
        suggested = self.context.table[np.array(near).T[:, row], column]
        here = np.add.reduce(suggested, axis=0, dtype=np.int64)
        highest = np.maximum.reduceat(here, sizes.cumsum() - sizes)
        return row, column, scores + np.maximum(here - highest[row], MIN_LOG_ODDS)


def make_edits(records: Sequence[Record | TaggedCaption]) -> Edits:
    """Return the edits of a domain, from its records in a defined order."""
    found = {_value(span) for record in records for span in record.attributes}
    known = sorted({*(value for value in found if swappable(*value)), *contrasting_values()})
    against = {
        one: [two for two in known if two[0] == one[0] and contrasting(one[0], one[1], two[1])]
        for one in known
    }
    values = tuple(value for value in known if against[value])
    place = {value: number for number, value in enumerate(values)}
    others = tuple(np.array([place[other] for other in against[value]]) for value in values)
    described = Descriptions(
        (place[_value(span)], _near(record, span))
        for record in records
        for span in record.attributes
        if _value(span) in place
    )
    context = fit_context(described, len(values))
    edits = Edits(values, place, others, tuple(map(np.zeros_like, others)), context)
    return _balanced(edits, records)


def _balanced(edits: Edits, records: Sequence[Record | TaggedCaption]) -> Edits:
    """Fit the factors by which each value is inserted as often as it is removed."""
    size = len(edits.values)
    spans_of: list[tuple[int, int]] = []  # caption and true value of each span
    near: list[list[int]] = []
    for number, record in enumerate(records[:: 1 + len(records) * size // _MAX_CELLS]):
        spans, places = edits.spans(record)
        near += edits.near(record, spans)
        spans_of += [(number, place) for place in places]
    if not spans_of:
        return edits
    caption, own = np.array(spans_of).T
    row, column, keys = _noisy(edits, own, np.array(near))
    begins = np.searchsorted(row, np.arange(len(own)))  # first edit of each span
    first = np.searchsorted(caption, caption)  # first span of the caption of each span
    factor = np.zeros(size)
    for _ in range(_ROUNDS):
        odds = keys + factor[column]
        highest = np.maximum.reduceat(odds, begins)
        best = np.flatnonzero(odds == highest[row])
        best = best[np.searchsorted(row[best], np.arange(len(own)))]  # the first of ties
        order = np.lexsort((factor[own] - highest, caption))
        chosen = order[np.arange(len(own)) - first < _NEGATIVES]
        inserted = np.bincount(column[best][chosen], minlength=size) + 0.25
        removed = np.bincount(own[chosen], minlength=size) + 0.25
        factor += 0.25 * np.log(removed / inserted)
        factor = np.clip(factor, -_MAX_FACTOR, _MAX_FACTOR)
    whole = np.round(factor / STEP).astype(np.int64)
    gain = tuple(whole[others] - whole[place] for place, others in enumerate(edits.others))
    return replace(edits, gain=gain)


def _noisy(edits: Edits, own: Integers, near: Integers) -> tuple[Integers, Integers, Floats]:
    """Return span, value and log odds with Gumbel noise of all edits of the spans, 1,000 spans at a time."""
    stream = np.random.RandomState(0)  # its stream never changes
    found = []
    for start in range(0, len(own), 1000):
        here = slice(start, start + 1000)
        row, column, scores = edits.scores(own[here], near[here])
        noise = stream.gumbel(size=(len(own[here]), len(edits.values)))
        found.append((row + start, column, scores * STEP + noise[row, column]))
    row, column, keys = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return row, column, keys


def _value(span: Attribute) -> tuple[str, str]:
    return span.type, span.value.lower()


def _near(record: Record | TaggedCaption, span: Attribute) -> tuple[str, ...]:
    """Return what suggests a value at a span: the words next to it, and the category."""
    mention = Mention(span.start, span.end, plural=False)
    return (*beside(record.caption, mention), "=" + record.category)


def _is_repeated(record: Record, span: Attribute, value: str) -> bool:
    """Check if another span has the value: "black and white" must not become "white and white"."""
    return any(
        other.type == span.type
        and other != span
        and same_meaning(span.type, other.value.lower(), value)
        for other in record.attributes
    )
