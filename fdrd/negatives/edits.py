"""The edits that make one attribute of a caption wrong, and their odds.

An edit replaces value v at a span by value w. It is possible only where the captions of the domain use w as they use v
(`fdrd.negatives.values`), and where v and w exclude each other: values that captions have together do not.

Of the possible values, w is drawn by the odds that its surroundings give it. It is then kept with a probability that
makes the edit from v to w as frequent as the one from w to v in the same surroundings, where w has other choices (the
rule of Metropolis and Hastings), so that the surroundings hardly tell a text-only model which is true. Where everyone
expects v ("green leaves"), a swap would give itself away, and most are not kept: such a caption gets fewer negatives.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import permutations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fdrd.negatives import values
from fdrd.negatives.odds import STEP, Context, Descriptions, fit_context
from fdrd.negatives.seeded_random import SeededRandom
from fdrd.negatives.values import BEFORE, CATEGORY, DESCRIBING, THING, Value
from fdrd.record import Attribute, Captions, Record, TaggedCaption

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

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
    """The S attributes of a caption that can be edited, and what it states.

    `current` has the index of the value of each, `near` rows of the context for how each is used. `stated` are the
    indices of all values of the caption; V is a color that no list knows.
    """

    spans: list[Attribute]
    current: list[int]
    near: list[list[int]]
    stated: list[int]


class Choices(NamedTuple):
    """The E values that S spans can have, their own ones among them.

    `row` (E,) is the span of each, ascending, and `column` (E,) the index of the value. `current` (S,) is the index of
    the value that each span has, and `open_` (E,) says whether a value may replace that. `scores` (E,) are log odds in
    units of `STEP`.
    """

    row: Integers
    column: Integers
    current: Integers
    open_: Mask
    scores: Integers


@dataclass(frozen=True, slots=True)
class Edits:
    """The V attribute values of a domain and the odds of each replacement.

    Attributes:
        values: (type, value in lower case), sorted.
        index_of: index of each value.
        alike: for each value, the indices of the values of its type.
        apart: (V, V) which values exclude each other.
        same: (V + 1, V) which values mean the same; the last row stands for a color that no list knows.
        mixed: (category, value, value) that captions join, as sorted numbers (`_mixed`).
        used: (rows of the context, V) whether captions use a value in this way.
        factor: (V,) log odds of each value in units of `STEP`, whatever surrounds it.
        context: log odds of each value in each use.
    """

    values: tuple[Value, ...]
    index_of: Mapping[Value, int]
    alike: tuple[Integers, ...]
    apart: Mask
    same: Mask
    mixed: Integers
    used: Mask
    factor: Integers
    context: Context

    def orders(
        self, records: Sequence[Record], randoms: Sequence[SeededRandom]
    ) -> list[list[tuple[Attribute, str]]]:
        """Return the edits of N records, drawn by their odds: at most two at each span, the first ones first."""
        found = [self.editable(record) for record in records]
        if not any(each.current for each in found):
            return [[] for _ in records]
        choices = self.choices(found)
        ends = np.cumsum([len(each.current) for each in found])
        begins = ends - [len(each.current) for each in found]
        sizes = np.searchsorted(choices.row, ends) - np.searchsorted(choices.row, begins)
        # For each choice, for whether a span's edits are kept, and for the order of the spans.
        noise = [
            np.split(random.gumbel(size + 2 * len(each.current)), [size, size + len(each.current)])
            for random, size, each in zip(randoms, sizes.tolist(), found, strict=True)
        ]
        gumbel, kept, turn = (np.concatenate(parts) for parts in zip(*noise, strict=True))
        first, second = _drawn(choices, self.apart, gumbel, np.exp(-np.exp(-kept)))
        found_edits = []
        for each, begin, end in zip(found, begins.tolist(), ends.tolist(), strict=True):
            order = turn[begin:end].argsort(kind="stable").tolist()
            drawn = [(i, edits[begin + i]) for edits in (first, second) for i in order]
            chosen = [(i, choices.column[choice]) for i, choice in drawn if choice >= 0]
            found_edits.append([(each.spans[i], self.values[value][1]) for i, value in chosen])
        return found_edits

    def editable(self, record: Record | TaggedCaption) -> Editable:
        """Return the attributes that can be edited.

        Joined ones cannot: something "red and white" has several colors, and captions do not name all. Nor can one
        whose value the caption repeats or is not sure of, and the color of what is no noun or has no clear color
        ("black accents").
        """
        several = {span.start for pair in values.joined(record) for span in pair}
        ends, unsure = values.describing(record), values.unsure_parts(record.caption)
        found = Editable([], [], [], [])
        for span in record.attributes:
            value = self.index_of.get(values.value_of(span), len(self.values))
            if value < len(self.values) or span.type == "color":
                found.stated.append(value)
            if value == len(self.values) or span.start in several:
                continue
            if any(start <= span.start < end for start, end in unsure):
                continue
            if values.is_repeated(record.caption, span):
                continue
            used = values.uses(record, span, ends)
            mark, thing = used[THING][:1], used[THING][1:]
            is_clear = span.type != "color" or mark == "~"
            if is_clear or (mark == ">" and values.has_clear_color(thing)):
                found.spans.append(span)
                found.current.append(value)
                found.near.append(self.context.rows(used))
        words = {word for text in _outside(record) for word in _WORD.findall(text.lower())}
        colors = (self.index_of.get(("color", word)) for word in words)
        found.stated.extend(color for color in colors if color is not None)
        return found

    def choices(self, captions: Sequence[Editable]) -> Choices:
        """Return the values that each span can have.

        No value is possible that the caption states of something else, nor any color where it states one that the
        lists do not know ("colorful").
        """
        current = np.array([value for each in captions for value in each.current], np.int64)
        near = np.array([rows for each in captions for rows in each.near], np.int64).reshape(-1, 3)
        caption = np.arange(len(captions)).repeat([len(each.current) for each in captions])
        stated = np.array([self.same[each.stated].sum(axis=0) for each in captions])
        usual = np.flatnonzero(self._used(near, current))
        row = usual.repeat([len(self.alike[value]) for value in current[usual]])
        column = np.concatenate([np.zeros(0, np.int64), *(self.alike[v] for v in current[usual])])
        elsewhere = stated[caption[row], column] > self.same[current[row], column]
        possible = (self._used(near[row], column) & ~elsewhere) | (column == current[row])
        row, column = row[possible], column[possible]
        suggested = np.add.reduce(self.context.table[near[row].T, column], axis=0, dtype=np.int64)
        joined_too = np.isin(_mixed(near[row, CATEGORY], current[row], column), self.mixed)
        return Choices(
            row=row,
            column=column,
            current=current,
            open_=self.apart[current[row], column] & ~joined_too,
            scores=self.factor[column] + suggested,
        )

    def _used(self, rows: Integers, column: Integers) -> Mask:
        """Check if captions use values (N,) in the ways given by rows (N, 3)."""
        ways = self.used[rows.T, column] | ~_needed(self.values)[:, column]
        found: Mask = np.logical_and.reduce(ways, axis=0)
        return found


@lru_cache(maxsize=8)
def _needed(known: tuple[Value, ...]) -> Mask:
    """Return (3, V) which uses of a value must be known."""
    needed = np.zeros((3, len(known)), np.bool_)
    for index, (type_, _) in enumerate(known):
        thing = type_ == "pose" or type_ in DESCRIBING
        needed[THING if thing else BEFORE, index] = True
        needed[CATEGORY, index] = type_ not in DESCRIBING
    return needed


def _drawn(
    choices: Choices, apart: Mask, noise: Floats, uniform: Floats
) -> tuple[Integers, Integers]:
    """Return (S,) the first and the second edit of each of S spans, or -1.

    An edit from v to w is kept with a probability that makes it as frequent as that from w to v, which has other
    choices; and two edits, with one that makes each of the three values true equally often. `apart` (V, V) says which
    values exclude each other, `noise` (E,) is Gumbel noise of each choice, and `uniform` (S,) a number in (0, 1) for
    each span.
    """
    edits = np.full((2, len(choices.current)), -1)
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
    v, one, two = choices.current[spans], choices.column[first], choices.column[second]

    def total(allowed: Mask) -> Floats:
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
    reverse = frequency(of_one, true, odds[second]), frequency(of_two, true, odds[first])
    both = np.minimum(share, np.minimum(*reverse) * apart[one, two] / pair)
    edits[0, spans] = np.where(some & (uniform[spans] < share), first, -1)
    edits[1, spans] = np.where(several & (uniform[spans] < both), second, -1)
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


def make_edits(records: Captions) -> Edits:
    """Return the edits of a domain, from its records in a defined order."""
    found = {values.value_of(span) for record in records for span in record.attributes}
    known = tuple(sorted(value for value in found if values.swappable(*value)))
    index_of = {value: index for index, value in enumerate(known)}
    apart = ~_together(records, index_of)
    all_alike, same = [], np.zeros((len(known) + 1, len(known)), np.bool_)
    same[-1] = [type_ == "color" for type_, _ in known]
    for one, (type_, value) in enumerate(known):
        alike = [two for two, (other, _) in enumerate(known) if other == type_]
        same[one, alike] = [values.same_meaning(type_, value, known[two][1]) for two in alike]
        exclude = np.zeros(len(known), np.bool_)
        exclude[alike] = [values.excluded(type_, value, known[two][1]) for two in alike]
        apart[one] &= exclude
        all_alike.append(np.array(alike, np.int64))
    described = Descriptions(_described(records, index_of))
    context = fit_context(described, len(known))
    used = described.counts(list(context.row), len(known)) >= _MIN_USES
    used = np.concatenate([used, np.zeros((1, len(known)), np.bool_)])  # for unknown uses
    for category, meta in sorted({(each.category, each.meta_category) for each in records}):
        for mark in ("=", "~"):
            current, wider = context.row.get(mark + category), context.row.get(mark * 2 + meta)
            if meta and current is not None and wider is not None:
                used[current] |= used[wider]
    weighted = np.round(context.table * _WEIGHT).astype(np.int16)
    factor = np.zeros(len(known), np.int64)
    mixed = _joined_in_categories(records, index_of, context)
    context = Context(context.row, weighted)
    edits = Edits(known, index_of, tuple(all_alike), apart, same, mixed, used, factor, context)
    return _balanced(edits, records)


def _described(
    records: Captions, index_of: Mapping[Value, int]
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the index of each value and how it is used, also for the meta-category, with its mark doubled."""
    for record in records:
        ends = values.describing(record)
        for span in record.attributes:
            if (value := index_of.get(values.value_of(span))) is not None:
                found = values.uses(record, span, ends)
                marks = {each[0] for each in found if each[1:] == record.category} & {"=", "~"}
                yield value, (*found, *(2 * mark + record.meta_category for mark in sorted(marks)))


def _together(records: Captions, index_of: Mapping[Value, int]) -> Mask:
    """Return (V, V) which values do not exclude each other, because captions have both: trees and mountains.

    Values that describe a noun are left out: a caption may have a black dog and a white dog.
    """
    both = np.zeros((len(index_of), len(index_of)))
    for record in records:
        found = {values.value_of(span) for span in record.attributes if span.type not in DESCRIBING}
        here = np.array(sorted(index_of[value] for value in found if value in index_of), np.int64)
        both[here[:, None], here] += 1
    times = both.diagonal()
    expected = np.outer(times, times) / max(1, len(records))
    return (both >= _TOGETHER) & (both > _MAX_TOGETHER * expected)


def _joined_in_categories(
    records: Captions, index_of: Mapping[Value, int], context: Context
) -> Integers:
    """Return the (category, value, value) that its captions join: many white Birmans are "white and brown"."""
    one, both = Counter[tuple[int, int]](), Counter[tuple[int, int, int]]()
    for record in records:
        category = context.row.get("=" + record.category, -1)
        here = {
            index_of[value]
            for span in record.attributes
            if (value := values.value_of(span)) in index_of
        }
        one.update((category, value) for value in here)
        for pair in values.joined(record):
            known = [index_of[value] for value in map(values.value_of, pair) if value in index_of]
            both.update((category, *order) for order in permutations(known, 2))
    found = [
        (category, v, w)
        for (category, v, w), times in both.items()
        if times >= max(_TOGETHER, _MAX_JOINED * min(one[category, v], one[category, w]))
    ]
    return np.sort(_mixed(*np.array(found, np.int64).reshape(-1, 3).T))


def _mixed(category: Integers, value: Integers, other: Integers) -> Integers:
    """Return a number for a category and two values."""
    return (category << 40) + (value << 20) + other


def _balanced(edits: Edits, records: Captions) -> Edits:
    """Fit the factors by which each value is inserted as often as it is removed."""
    size = len(edits.values)
    step = 1 + len(records) * size // _MAX_CELLS
    found = [edits.editable(record) for record in records[::step]]
    caption = np.arange(len(found)).repeat([len(each.current) for each in found])
    current = np.array([value for each in found for value in each.current], np.int64)
    if not len(current):
        return edits
    choices = edits.choices(found)
    stream = np.random.RandomState(0)  # its stream never changes
    noise, uniform = stream.gumbel(size=len(choices.row)), stream.uniform(size=len(current))
    turn = stream.uniform(size=len(current))
    factor = np.log(np.bincount(current, minlength=size) + 0.25)
    level = np.arange(2).repeat(len(current))
    for _ in range(_ROUNDS):
        whole = np.round(factor / STEP).astype(np.int64)
        weighted = choices._replace(scores=choices.scores + whole[choices.column])
        drawn = np.concatenate(_drawn(weighted, edits.apart, noise, uniform))
        done = np.flatnonzero(drawn >= 0)
        span = done % len(current)
        done = done[np.lexsort((turn[span], level[done], caption[span]))]
        caption_of = caption[done % len(current)]
        rank = np.arange(len(done)) - np.searchsorted(caption_of, caption_of)
        done = done[rank < _NEGATIVES]
        inserted = np.bincount(choices.column[drawn[done]], minlength=size) + 0.25
        removed = np.bincount(current[done % len(current)], minlength=size) + 0.25
        factor += 0.25 * np.log(removed / inserted)
        factor = np.clip(factor, -_MAX_FACTOR, _MAX_FACTOR)
    return replace(edits, factor=np.round(factor / STEP).astype(np.int64))
