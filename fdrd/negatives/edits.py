"""The edits that make one attribute of a caption wrong, and their odds.

An edit replaces value v at a span by value w. It is possible only where the captions of the domain use w as they use v
(`fdrd.negatives.uses`), and where v and w exclude each other: values that captions have together do not.

Of the possible values, w is drawn by the odds that its surroundings give it. It is then kept with a probability that
makes the edit from v to w as frequent as the one from w to v in the same surroundings (the rule of Metropolis), so that
the surroundings hardly tell a text-only model which is true. Where everyone expects v ("green leaves"), a swap would
give itself away, and most are not kept: such a caption gets fewer negatives.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import permutations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fdrd.negatives.context import STEP, Context, Descriptions, fit_context
from fdrd.negatives.seeded_random import SeededRandom
from fdrd.negatives.uses import (
    BEFORE,
    CATEGORY,
    DESCRIBING,
    THING,
    describing,
    has_clear_color,
    is_hedged,
    is_repeated,
    joined,
    uses,
)
from fdrd.negatives.values import excluded, same_meaning, swappable
from fdrd.record import Attribute, Record, TaggedCaption

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_ROUNDS = 40
_NEGATIVES = 2  # attribute negatives per caption for which the odds are balanced
_MAX_CELLS = 4_000_000
_MAX_FACTOR = 24.0
_MIN_USES = 3  # captions that use a value in a way before it is swapped in there
_TOGETHER = 2  # captions with two values, which then do not exclude each other
_MAX_TOGETHER = 0.5  # unless these are less than this share of what chance gives
_MAX_MIXED = 0.03  # share of the captions of a category with one of two values that have both
_WORD = re.compile(r"[^\W_]+")
_WEIGHT = 0.5  # of what the surroundings suggest: their features repeat each other


class Editable(NamedTuple):
    """The attributes of a caption that can be edited, and what it states."""

    spans: list[Attribute]
    own: list[int]
    """index of the value of each"""
    near: list[list[int]]
    """rows of the context for how each is used"""
    stated: list[int]
    """indices of all values of the caption; V is a color that no list knows"""


@dataclass(frozen=True, slots=True)
class Edits:
    """The V attribute values of a domain and the odds of each replacement."""

    values: tuple[tuple[str, str], ...]
    """(type, value in lower case), sorted"""
    place: Mapping[tuple[str, str], int]
    """index of each value"""
    others: tuple[Integers, ...]
    """for each value, the indices of the values that exclude it"""
    same: npt.NDArray[np.bool_]
    """(V + 1, V) which values mean the same as each value; the last row stands for a color that no list knows"""
    mixed: Integers
    """(category, value, value) that captions join, as sorted numbers (`_mixed`)"""
    used: npt.NDArray[np.bool_]
    """(rows of the context, V): whether captions use a value in this way"""
    factor: Integers
    """(V,) log odds of each value in units of `STEP`, whatever surrounds it"""
    context: Context

    def orders(
        self, records: Sequence[Record], randoms: Sequence[SeededRandom]
    ) -> list[list[tuple[Attribute, str]]]:
        """Return the edits of N records, drawn by their odds: at most two at each span, the first ones first."""
        found = [self.editable(record) for record in records]
        if not any(each.own for each in found):
            return [[] for _ in records]
        row, column, scores, true = self.scores(found)
        ends = np.cumsum([len(each.own) for each in found])
        begins = ends - [len(each.own) for each in found]
        sizes = np.searchsorted(row, ends) - np.searchsorted(row, begins)
        # For each edit, for whether a span's edits are kept, and for the order of the spans.
        noise = [
            np.split(random.gumbel(size + 2 * len(each.own)), [size, size + len(each.own)])
            for random, size, each in zip(randoms, sizes.tolist(), found, strict=True)
        ]
        gumbel, kept, turn = (np.concatenate(parts) for parts in zip(*noise, strict=True))
        first, second = _drawn(row, scores, true, gumbel, np.exp(-np.exp(-kept)))
        return [
            [
                (each.spans[number], self.values[column[edits[begin + number]]][1])
                for edits in (first, second)
                for number in turn[begin:end].argsort(kind="stable").tolist()
                if edits[begin + number] >= 0
            ]
            for each, begin, end in zip(found, begins.tolist(), ends.tolist(), strict=True)
        ]

    def editable(self, record: Record | TaggedCaption) -> Editable:
        """Return the attributes that can be edited.

        Joined ones cannot: something "red and white" has several colors, and captions do not name all. Nor can one
        whose value the caption repeats or is not sure of, and the color of what is no noun or has no clear color
        ("black accents").
        """
        several = {span.start for pair in joined(record) for span in pair}
        ends = describing(record)
        found = Editable([], [], [], [])
        for span in record.attributes:
            value = self.place.get(_value(span), len(self.values))
            if value < len(self.values) or span.type == "color":
                found.stated.append(value)
            if value == len(self.values) or span.start in several:
                continue
            if is_repeated(record.caption, span) or is_hedged(record.caption, span):
                continue
            used = uses(record, span, ends)
            thing = used[THING]
            if (
                span.type != "color"
                or thing[0] == "~"
                or (thing[0] == ">" and has_clear_color(thing[1:]))
            ):
                found.spans.append(span)
                found.own.append(value)
                found.near.append(self.context.rows(used))
        found.stated.extend(
            place
            for word in set(_WORD.findall(record.caption.lower()))
            if (place := self.place.get(("color", word))) is not None
        )
        return found

    def scores(self, captions: Sequence[Editable]) -> tuple[Integers, Integers, Integers, Integers]:
        """Return span number, value index and log odds of E possible edits, and the log odds of S spans' values.

        Log odds are in units of `STEP`. No value is possible that the caption states of something else, nor any color
        where it states one that the lists do not know ("colorful").
        """
        values = np.array([value for each in captions for value in each.own], np.int64)
        rows = np.array([rows for each in captions for rows in each.near], np.int64).reshape(-1, 3)
        caption = np.arange(len(captions)).repeat([len(each.own) for each in captions])
        stated = np.array([self.same[each.stated].any(axis=0) for each in captions])
        usual = np.flatnonzero(self._used(rows, values))
        row = usual.repeat([len(self.others[value]) for value in values[usual]])
        column = np.concatenate([np.zeros(0, np.int64), *(self.others[v] for v in values[usual])])
        possible = self._used(rows[row], column) & ~stated[caption[row], column]
        row, column = row[possible], column[possible]
        possible = ~np.isin(_mixed(rows[row, CATEGORY], values[row], column), self.mixed)
        row, column = row[possible], column[possible]
        suggested = self.factor[column] + self._suggested(rows[row], column)
        return row, column, suggested, self.factor[values] + self._suggested(rows, values)

    def _suggested(self, rows: Integers, column: Integers) -> Integers:
        """Return (N,) how strongly the uses given by rows (N, 3) suggest values (N,)."""
        total: Integers = np.add.reduce(self.context.table[rows.T, column], axis=0, dtype=np.int64)
        return total

    def _used(self, rows: Integers, column: Integers) -> npt.NDArray[np.bool_]:
        """Check if captions use values (N,) in the ways given by rows (N, 3)."""
        ways = self.used[rows.T, column] | ~_needed(self.values)[:, column]
        found: npt.NDArray[np.bool_] = np.logical_and.reduce(ways, axis=0)
        return found


@lru_cache(maxsize=8)
def _needed(values: tuple[tuple[str, str], ...]) -> npt.NDArray[np.bool_]:
    """Return (3, V) which uses of a value must be known."""
    needed = np.zeros((3, len(values)), np.bool_)
    for number, (type_, _) in enumerate(values):
        if type_ in DESCRIBING:
            needed[THING, number] = True
        else:
            needed[THING if type_ == "pose" else BEFORE, number] = True
            needed[CATEGORY, number] = True
    return needed


def _drawn(
    row: Integers, scores: Integers, true: Integers, noise: Floats, uniform: Floats
) -> tuple[Integers, Integers]:
    """Return (S,) the first and the second edit of each of S spans, or -1.

    Args:
        row: (E,) span of each edit, ascending.
        scores: (E,) log odds of each edit.
        true: (S,) log odds of each span's value.
        noise: (E,) Gumbel noise of each edit.
        uniform: (S,) a number in (0, 1) for each span.
    """
    edits = np.full((2, len(true)), -1)
    begins = np.flatnonzero(np.diff(row, prepend=-1))
    if not len(begins):
        return edits[0], edits[1]
    spans, sizes = row[begins], np.diff(np.append(begins, len(row)))
    keys = scores * STEP + noise
    first = _highest(keys, begins, sizes)
    keys[first] = -np.inf
    second = _highest(keys, begins, sizes)
    highest = np.maximum(np.maximum.reduceat(scores, begins), true[spans])
    odds = np.exp((scores - highest.repeat(sizes)) * STEP)
    v, one, two = np.exp((true[spans] - highest) * STEP), odds[first], odds[second]
    all_ = np.add.reduceat(odds, begins)
    rest = np.maximum(all_ - one - two, 0)

    def frequency(two: Floats, three: Floats) -> Floats:
        """Return how often both are drawn, in any order, when the third of `v`, `one` and `two` is true."""
        drawn: Floats = (1 / (rest + two) + 1 / (rest + three)) / (rest + two + three)
        return drawn

    share = np.minimum(1, all_ / (all_ - one + v))
    pair = frequency(one, two)
    least = np.minimum(np.minimum(pair, frequency(v, one)), frequency(v, two))
    edits[0, spans] = np.where(uniform[spans] < share, first, -1)
    edits[1, spans] = np.where(
        (sizes > 1) & (uniform[spans] < np.minimum(share, least / pair)), second, -1
    )
    return edits[0], edits[1]


def _highest(keys: Floats, begins: Integers, sizes: Integers) -> Integers:
    """Return the index of the first highest key of each group."""
    found = np.flatnonzero(keys == np.maximum.reduceat(keys, begins).repeat(sizes))
    return found[np.searchsorted(found, begins)]


def make_edits(records: Sequence[Record | TaggedCaption]) -> Edits:
    """Return the edits of a domain, from its records in a defined order."""
    found = {_value(span) for record in records for span in record.attributes}
    known = tuple(sorted(value for value in found if swappable(*value)))
    place = {value: number for number, value in enumerate(known)}
    apart = ~_together(records, place)
    others, same = [], np.zeros((len(known) + 1, len(known)), np.bool_)
    same[-1] = [type_ == "color" for type_, _ in known]
    for one, (type_, value) in enumerate(known):
        alike = [two for two, (other, _) in enumerate(known) if other == type_]
        same[one, alike] = [same_meaning(type_, value, known[two][1]) for two in alike]
        found_here = [
            two for two in alike if apart[one, two] and excluded(type_, value, known[two][1])
        ]
        others.append(np.array(found_here, dtype=np.int64))
    described = Descriptions(_described(records, place))
    context = fit_context(described, len(known))
    used = described.counts(list(context.row), len(known)) >= _MIN_USES
    used = np.concatenate([used, np.zeros((1, len(known)), np.bool_)])  # for unknown uses
    for category, meta in sorted({(each.category, each.meta_category) for each in records}):
        for mark in ("=", "~"):
            own, wider = context.row.get(mark + category), context.row.get(mark * 2 + meta)
            if meta and own is not None and wider is not None:
                used[own] |= used[wider]
    weighted = np.round(context.table * _WEIGHT).astype(np.int16)
    factor = np.zeros(len(known), np.int64)
    mixed = _joined_in_categories(records, place, context)
    context = Context(context.row, weighted)
    edits = Edits(known, place, tuple(others), same, mixed, used, factor, context)
    return _balanced(edits, records)


def _described(
    records: Sequence[Record | TaggedCaption], place: Mapping[tuple[str, str], int]
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the index of each value and how it is used, also for the meta-category, with its mark doubled."""
    for record in records:
        ends = describing(record)
        for span in record.attributes:
            if (value := place.get(_value(span))) is not None:
                found = uses(record, span, ends)
                marks = {each[0] for each in found if each[1:] == record.category} & {"=", "~"}
                yield value, (*found, *(2 * mark + record.meta_category for mark in sorted(marks)))


def _together(
    records: Sequence[Record | TaggedCaption], place: Mapping[tuple[str, str], int]
) -> npt.NDArray[np.bool_]:
    """Return (V, V) which values do not exclude each other, because captions have both: trees and mountains.

    Values that describe a noun are left out: a caption may have a black dog and a white dog.
    """
    both = np.zeros((len(place), len(place)))
    for record in records:
        found = {_value(span) for span in record.attributes if span.type not in DESCRIBING}
        here = np.array(sorted(place[value] for value in found if value in place), np.int64)
        both[here[:, None], here] += 1
    times = both.diagonal()
    expected = np.outer(times, times) / max(1, len(records))
    return (both >= _TOGETHER) & (both > _MAX_TOGETHER * expected)


def _joined_in_categories(
    records: Sequence[Record | TaggedCaption],
    place: Mapping[tuple[str, str], int],
    context: Context,
) -> Integers:
    """Return the (category, value, value) that its captions join: many white Birmans are "white and brown"."""
    one, both = Counter[tuple[int, int]](), Counter[tuple[int, int, int]]()
    for record in records:
        category = context.row.get("=" + record.category, -1)
        here = {place[value] for span in record.attributes if (value := _value(span)) in place}
        one.update((category, value) for value in here)
        for pair in joined(record):
            values = [place[value] for span in pair if (value := _value(span)) in place]
            both.update((category, *order) for order in permutations(values, 2))
    found = [
        (category, v, w)
        for (category, v, w), times in both.items()
        if times >= max(_TOGETHER, _MAX_MIXED * min(one[category, v], one[category, w]))
    ]
    return np.sort(_mixed(*np.array(found, np.int64).reshape(-1, 3).T))


def _mixed(category: Integers, value: Integers, other: Integers) -> Integers:
    """Return a number for a category and two values."""
    return (category << 40) + (value << 20) + other


def _balanced(edits: Edits, records: Sequence[Record | TaggedCaption]) -> Edits:
    """Fit the factors by which each value is inserted as often as it is removed."""
    size = len(edits.values)
    step = 1 + len(records) * size // _MAX_CELLS
    found = [edits.editable(record) for record in records[::step]]
    caption = np.arange(len(found)).repeat([len(each.own) for each in found])
    own = np.array([value for each in found for value in each.own], np.int64)
    if not len(own):
        return edits
    row, column, scores, true = edits.scores(found)
    stream = np.random.RandomState(0)  # its stream never changes
    noise, uniform, turn = (
        stream.gumbel(size=len(row)), stream.uniform(size=len(own)), stream.uniform(size=len(own))
    )  # fmt: skip
    factor = np.log(np.bincount(own, minlength=size) + 0.25)
    level = np.arange(2).repeat(len(own))
    for _ in range(_ROUNDS):
        whole = np.round(factor / STEP).astype(np.int64)
        drawn = np.concatenate(
            _drawn(row, scores + whole[column], true + whole[own], noise, uniform)
        )
        done = np.flatnonzero(drawn >= 0)
        span = done % len(own)
        done = done[np.lexsort((turn[span], level[done], caption[span]))]
        of = caption[done % len(own)]
        done = done[np.arange(len(done)) - np.searchsorted(of, of) < _NEGATIVES]
        inserted = np.bincount(column[drawn[done]], minlength=size) + 0.25
        removed = np.bincount(own[done % len(own)], minlength=size) + 0.25
        factor += 0.25 * np.log(removed / inserted)
        factor = np.clip(factor, -_MAX_FACTOR, _MAX_FACTOR)
    return replace(edits, factor=np.round(factor / STEP).astype(np.int64))


def _value(span: Attribute) -> tuple[str, str]:
    return span.type, span.value.lower()
