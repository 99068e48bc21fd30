"""The edits that make one attribute of a caption wrong, and how likely each is.

An edit puts value w in the place of value v at a span. Its odds are what the words around speak for
(`fdrd.negatives.context`), times a factor of w over the factor of v. The factors are set so that each value
is put in as often as it is taken out: then neither how common a value is, nor that it is there at all, tells
a blind reader anything. An edit with no way back ("green leaves" to "green stones", where no caption of
flowers has stones) all but vanishes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fdrd.negatives.context import STEP, Context, Descriptions, beside, fit_context
from fdrd.negatives.draws import Draws
from fdrd.negatives.values import contrasting, contrasting_values, same_meaning, swappable
from fdrd.record import Attribute, Record
from fdrd.text.mentions import Mention

_UNLIKELY = round(-12 / STEP)
_ROUNDS = 40
_NEGATIVES = 2  # attribute negatives of a caption that the balance is made for
_MOST_CELLS = 4_000_000
_MOST_FACTOR = 24.0


Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Edits:
    """The values of a domain and the odds of one in the place of another.

    Attributes:
        values: V (type, value in lower case) pairs, sorted.
        place: of each in `values`.
        others: for each value the places of those that it can become.
        gain: for each of the others its factor over the value's, as a logarithm in units of `STEP`.
        context: None if the words around shall not count.
    """

    values: tuple[tuple[str, str], ...]
    place: Mapping[tuple[str, str], int]
    others: tuple[Integers, ...]
    gain: tuple[Integers, ...]
    context: Context | None

    def order(self, record: Record, draws: Draws) -> Iterator[tuple[Attribute, str]]:
        """Edits drawn by their odds without replacement: one at each span, then the second ones."""
        spans, own = self.spans(record)
        if not spans:
            return
        row, column, scores = self.scores(record, spans, own)
        keys = scores * STEP + draws.race(len(scores))
        waiting = (-keys).argsort(kind="stable").tolist()
        while waiting:
            done, later = set(), []
            for edit in waiting:
                if row[edit] in done:
                    later.append(edit)
                    continue
                span, value = spans[row[edit]], self.values[column[edit]][1]
                if not _said_already(record, span, value):
                    done.add(row[edit])
                    yield span, value
            waiting = later

    def spans(self, record: Record) -> tuple[list[Attribute], list[int]]:
        """The attributes of a record that something contrasts with, and the places of their values."""
        places = [self.place.get((a.type, a.value.lower()), -1) for a in record.attributes]
        return (
            [span for span, place in zip(record.attributes, places, strict=True) if place >= 0],
            [place for place in places if place >= 0],
        )

    def scores(
        self, record: Record, spans: Sequence[Attribute], own: Sequence[int]
    ) -> tuple[Integers, Integers, Integers]:
        """All edits of spans: number of the span, place of the value, log odds in units of `STEP`."""
        sizes = np.array([len(self.others[place]) for place in own])
        row = np.arange(len(own)).repeat(sizes)
        column = np.concatenate([self.others[place] for place in own])
        scores = np.concatenate([self.gain[place] for place in own])
        if self.context:
            near = np.array([self.context.rows(_near(record, span)) for span in spans])
            here = self.context.table[near[row], column[:, None]].sum(axis=1, dtype=np.int64)
            highest = np.maximum.reduceat(here, sizes.cumsum() - sizes)
            scores += np.maximum(here - highest[row], _UNLIKELY)
        return row, column, scores

    def feed(self, update: Callable[[bytes], None]) -> None:
        """Hands everything that a draw depends on to the `update` of a digest."""
        update(repr(self.values).encode("utf-8", "backslashreplace"))
        for gain in self.gain:
            update(gain.tobytes())
        if self.context:
            self.context.feed(update)


def make_edits(records: Sequence[Record], *, in_context: bool, balance: bool) -> Edits:
    """The edits of a domain, from records that are in an order of their own."""
    found = {_value(span) for record in records for span in record.attributes if swappable(span)}
    known = sorted({*found, *contrasting_values()})
    against = {
        one: [two for two in known if two[0] == one[0] and contrasting(one[0], one[1], two[1])]
        for one in known
    }
    values = tuple(value for value in known if against[value])
    place = {value: number for number, value in enumerate(values)}
    others = tuple(np.array([place[other] for other in against[value]]) for value in values)
    described = Descriptions(
        (place[_value(span)], _near(record, span))
        for record in (records if in_context else ())
        for span in record.attributes
        if _value(span) in place
    )
    context = fit_context(described, len(values)) if described else None
    edits = Edits(values, place, others, tuple(map(np.zeros_like, others)), context)
    return _balanced(edits, records) if balance else edits


def _balanced(edits: Edits, records: Sequence[Record]) -> Edits:
    """The edits with factors by which each value is put in as often as it is taken out."""
    size = len(edits.values)
    seen = records[:: 1 + len(records) * size // _MOST_CELLS]
    rows: list[tuple[int, int]] = []  # caption and place of the true value, for each span
    entries: list[tuple[Integers, Integers, Integers]] = []
    for number, record in enumerate(seen):
        spans, places = edits.spans(record)
        if not spans:
            continue
        row, column, scores = edits.scores(record, spans, places)
        entries.append((row + len(rows), column, scores))
        rows += [(number, place) for place in places]
    if not rows:
        return edits
    caption, own = np.array(rows).T
    row, column, scores = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    keys = scores * STEP + _noise(row, column, (len(rows), size))
    begins = np.searchsorted(row, np.arange(len(rows)))  # where the edits of each span begin
    first = np.searchsorted(caption, caption)  # row where the spans of the caption begin
    factor = np.zeros(size)
    for _ in range(_ROUNDS):
        odds = keys + factor[column]
        highest = np.maximum.reduceat(odds, begins)
        likeliest = np.flatnonzero(odds == highest[row])
        likeliest = likeliest[
            np.searchsorted(row[likeliest], np.arange(len(rows)))
        ]  # of equals the first
        put_in = column[likeliest]
        best = highest - factor[own]
        order = np.lexsort((-best, caption))
        chosen = order[np.arange(len(rows)) - first < _NEGATIVES]
        came = np.bincount(put_in[chosen], minlength=size) + 0.25
        went = np.bincount(own[chosen], minlength=size) + 0.25
        factor = np.clip(factor + 0.25 * np.log(went / came), -_MOST_FACTOR, _MOST_FACTOR)
    whole = np.round(factor / STEP).astype(np.int64)
    gain = tuple(whole[others] - whole[place] for place, others in enumerate(edits.others))
    return Edits(edits.values, edits.place, edits.others, gain, edits.context)


def _noise(row: Integers, column: Integers, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Gumbel noise at some cells of an array of a shape; all of it is drawn, a few rows at a time."""
    stream = np.random.RandomState(0)  # its stream never changes
    found = []
    for start in range(0, shape[0], 1000):
        noise = stream.gumbel(size=(min(1000, shape[0] - start), shape[1]))
        here = slice(*np.searchsorted(row, (start, start + 1000)))
        found.append(noise[row[here] - start, column[here]])
    return np.concatenate(found)


def _value(span: Attribute) -> tuple[str, str]:
    return span.type, span.value.lower()


def _near(record: Record, span: Attribute) -> tuple[str, ...]:
    """What speaks for a value at a span: the words beside it, and the category ("yellow" for sunflowers)."""
    mention = Mention(span.start, span.end, plural=False)
    return (*beside(record.caption, mention), "=" + record.category)


def _said_already(record: Record, span: Attribute, value: str) -> bool:
    """Whether another span says it: "black and white" must not become "white and white"."""
    return any(
        other.type == span.type
        and other != span
        and same_meaning(span.type, other.value.lower(), value)
        for other in record.attributes
    )
