"""The edits that make one attribute of a caption wrong, and their odds.

An edit replaces value v at a span by value w. It is possible only where the captions of the domain use w as they use v
(`fdrd.negatives.uses`), and where v and w exclude each other: values that captions have together do not.

Of the possible values, w is drawn by the odds that its surroundings give it. It is then kept with a probability that
makes the edit from v to w as frequent as the one from w to v in the same surroundings, where w has other choices (the
rule of Metropolis and Hastings), so that the surroundings hardly tell a text-only model which is true. Where everyone
expects v ("green leaves"), a swap would give itself away, and most are not kept: such a caption gets fewer negatives.
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
    is_repeated,
    joined,
    unsure_parts,
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
_MAX_JOINED = 0.03  # share of a category's captions with one of two values that join them: a thing may have both
_WORD = re.compile(r"[^\W_]+")
_TINY = 1e-12  # odds
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


class Choices(NamedTuple):
    """The E values that S spans can have, their own ones among them."""

    row: Integers
    """(E,) span of each, ascending"""
    column: Integers
    """(E,) index of the value"""
    own: Integers
    """(S,) index of the value that each span has"""
    open_: npt.NDArray[np.bool_]
    """(E,) whether it may replace the one that the span has"""
    scores: Integers
    """(E,) log odds in units of `STEP`"""


@dataclass(frozen=True, slots=True)
class Edits:
    """The V attribute values of a domain and the odds of each replacement."""

    values: tuple[tuple[str, str], ...]
    """(type, value in lower case), sorted"""
    place: Mapping[tuple[str, str], int]
    """index of each value"""
    alike: tuple[Integers, ...]
    """for each value, the indices of the values of its type"""
    apart: npt.NDArray[np.bool_]
    """(V, V) which values exclude each other"""
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
        choices = self.choices(found)
        ends = np.cumsum([len(each.own) for each in found])
        begins = ends - [len(each.own) for each in found]
        sizes = np.searchsorted(choices.row, ends) - np.searchsorted(choices.row, begins)
        # For each choice, for whether a span's edits are kept, and for the order of the spans.
        noise = [
            np.split(random.gumbel(size + 2 * len(each.own)), [size, size + len(each.own)])
            for random, size, each in zip(randoms, sizes.tolist(), found, strict=True)
        ]
        gumbel, kept, turn = (np.concatenate(parts) for parts in zip(*noise, strict=True))
        first, second = _drawn(choices, self.apart, gumbel, np.exp(-np.exp(-kept)))
        return [
            [
                (each.spans[number], self.values[choices.column[edits[begin + number]]][1])
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
        ends, unsure = describing(record), unsure_parts(record.caption)
        found = Editable([], [], [], [])
        for span in record.attributes:
            value = self.place.get(_value(span), len(self.values))
            if value < len(self.values) or span.type == "color":
                found.stated.append(value)
            if value == len(self.values) or span.start in several:
                continue
            if any(start <= span.start < end for start, end in unsure):
                continue
            if is_repeated(record.caption, span):
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
        words = {word for text in _outside(record) for word in _WORD.findall(text.lower())}
        found.stated.extend(
            place for word in words if (place := self.place.get(("color", word))) is not None
        )
        return found

    def choices(self, captions: Sequence[Editable]) -> Choices:
        """Return the values that each span can have.

        No value is possible that the caption states of something else, nor any color where it states one that the
        lists do not know ("colorful").
        """
        own = np.array([value for each in captions for value in each.own], np.int64)
        near = np.array([rows for each in captions for rows in each.near], np.int64).reshape(-1, 3)
        caption = np.arange(len(captions)).repeat([len(each.own) for each in captions])
        stated = np.array([self.same[each.stated].sum(axis=0) for each in captions])
        usual = np.flatnonzero(self._used(near, own))
        row = usual.repeat([len(self.alike[value]) for value in own[usual]])
        column = np.concatenate([np.zeros(0, np.int64), *(self.alike[v] for v in own[usual])])
        elsewhere = stated[caption[row], column] > self.same[own[row], column]
        possible = (self._used(near[row], column) & ~elsewhere) | (column == own[row])
        row, column = row[possible], column[possible]
        joined_too = np.isin(_mixed(near[row, CATEGORY], own[row], column), self.mixed)
        return Choices(
            row=row,
            column=column,
            own=own,
            open_=self.apart[own[row], column] & ~joined_too,
            scores=self.factor[column] + self._suggested(near[row], column),
        )

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
    choices: Choices, apart: npt.NDArray[np.bool_], noise: Floats, uniform: Floats
) -> tuple[Integers, Integers]:
    """Return (S,) the first and the second edit of each of S spans, or -1.

    An edit from v to w is kept with a probability that makes it as frequent as that from w to v, which has other
    choices; and two edits, with one that makes each of the three values true equally often.

    Args:
        choices: the values that the spans can have.
        apart: (V, V) which values exclude each other.
        noise: (E,) Gumbel noise of each choice.
        uniform: (S,) a number in (0, 1) for each span.
    """
    edits = np.full((2, len(choices.own)), -1)
    begins = np.flatnonzero(np.diff(choices.row, prepend=-1))
    if not len(begins):
        return edits[0], edits[1]
    spans, sizes = choices.row[begins], np.diff(np.append(begins, len(choices.row)))
    highest = np.maximum.reduceat(choices.scores, begins)
    odds = np.exp((choices.scores - highest.repeat(sizes)) * STEP)
    keys = np.where(choices.open_, choices.scores * STEP + noise, -np.inf)
    first = _highest(keys, begins, sizes)
    some = keys[first] > -np.inf
    keys[first] = -np.inf
    second = _highest(keys, begins, sizes)
    several = some & (keys[second] > -np.inf)
    v, one, two = choices.own[spans], choices.column[first], choices.column[second]

    def total(allowed: npt.NDArray[np.bool_]) -> Floats:
        """Return the odds of the allowed values of each span."""
        found: Floats = np.add.reduceat(odds * allowed, begins)
        return np.maximum(found, _TINY)

    def opposite(value: Integers) -> Floats:
        """Return the odds of all values that could replace a value in each span."""
        return total(apart[value.repeat(sizes), choices.column])

    def frequency(all_: Floats, two: Floats, three: Floats) -> Floats:
        """Return how often both are drawn, in any order, out of values with these odds in total."""
        rest = np.maximum(all_ - two, _TINY), np.maximum(all_ - three, _TINY)
        drawn: Floats = (1 / rest[0] + 1 / rest[1]) / all_
        return drawn

    true = total(choices.column == v.repeat(sizes))
    all_, of_one, of_two = total(choices.open_), opposite(one), opposite(two)
    share = np.minimum(1, all_ / of_one)
    pair = frequency(all_, odds[first], odds[second])
    least = (
        np.minimum(frequency(of_one, true, odds[second]), frequency(of_two, true, odds[first]))
        * apart[one, two]
    )
    edits[0, spans] = np.where(some & (uniform[spans] < share), first, -1)
    edits[1, spans] = np.where(
        several & (uniform[spans] < np.minimum(share, least / pair)), second, -1
    )
    return edits[0], edits[1]


def _outside(record: Record | TaggedCaption) -> Iterator[str]:
    """Yield the parts of a caption between its attributes."""
    end = 0
    for span in record.attributes:
        yield record.caption[end : span.start]
        end = span.end
    yield record.caption[end:]


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
    all_alike, same = [], np.zeros((len(known) + 1, len(known)), np.bool_)
    same[-1] = [type_ == "color" for type_, _ in known]
    for one, (type_, value) in enumerate(known):
        alike = [two for two, (other, _) in enumerate(known) if other == type_]
        same[one, alike] = [same_meaning(type_, value, known[two][1]) for two in alike]
        exclude = np.zeros(len(known), np.bool_)
        exclude[alike] = [excluded(type_, value, known[two][1]) for two in alike]
        apart[one] &= exclude
        all_alike.append(np.array(alike, np.int64))
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
    edits = Edits(known, place, tuple(all_alike), apart, same, mixed, used, factor, context)
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
        if times >= max(_TOGETHER, _MAX_JOINED * min(one[category, v], one[category, w]))
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
    choices = edits.choices(found)
    stream = np.random.RandomState(0)  # its stream never changes
    noise, uniform, turn = (
        stream.gumbel(size=len(choices.row)),
        stream.uniform(size=len(own)),
        stream.uniform(size=len(own)),
    )
    factor = np.log(np.bincount(own, minlength=size) + 0.25)
    level = np.arange(2).repeat(len(own))
    for _ in range(_ROUNDS):
        whole = np.round(factor / STEP).astype(np.int64)
        weighted = choices._replace(scores=choices.scores + whole[choices.column])
        drawn = np.concatenate(_drawn(weighted, edits.apart, noise, uniform))
        done = np.flatnonzero(drawn >= 0)
        span = done % len(own)
        done = done[np.lexsort((turn[span], level[done], caption[span]))]
        of = caption[done % len(own)]
        done = done[np.arange(len(done)) - np.searchsorted(of, of) < _NEGATIVES]
        inserted = np.bincount(choices.column[drawn[done]], minlength=size) + 0.25
        removed = np.bincount(own[done % len(own)], minlength=size) + 0.25
        factor += 0.25 * np.log(removed / inserted)
        factor = np.clip(factor, -_MAX_FACTOR, _MAX_FACTOR)
    return replace(edits, factor=np.round(factor / STEP).astype(np.int64))


def _value(span: Attribute) -> tuple[str, str]:
    return span.type, span.value.lower()
