"""Natural pairs: records of which each one's own caption is false for the image of the other.

Both captions are true of some image, so nothing in them is made up. Each is right once and wrong once, so a scorer
that ignores the image cannot win a pair. There are two kinds: records of different categories whose captions are
otherwise alike, and records of one category that give one noun attributes that exclude each other.

Within a block of records, the pair with the most similar captions is matched first. A block is small, so several
rounds follow, in which other records share a block (by MinHash of their words) and pairs may be less similar. All
scores are integers or correctly rounded quotients of integers below 2**24, so they are the same on every machine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fdrd.negatives.statements import OF_NEXT_NOUN, Statement, Value
from fdrd.negatives.values import excluded
from fdrd.record import Kind

Integers = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

BLOCK = 256
"""Records that are compared with one another in a round."""
_ROUNDS = (0.4, 0.2, 0, 0)
"""The lowest similarity of a pair in each round; records that fit into one block have the last round only."""
_FINE = 1 << 20  # steps of a similarity


@dataclass(frozen=True, eq=False)
class Captioned:
    """The n records of one domain and split that are to be matched.

    Attributes:
        key: (n,) hash of the id, which breaks ties.
        image: (n,) number of the image, the same for near duplicates.
        group: (n,) number of the group; no pair is of one group.
        text: (n,) key of the normalized caption; no pair has one text.
        category: (n,) index of the category, -1 for none.
        statements: what each caption states.
    """

    key: Keys
    image: Integers
    group: Integers
    text: Keys
    category: Integers
    statements: Sequence[Statement]


def natural_pairs(records: Captioned, related: Sequence[frozenset[int]]) -> dict[Kind, Integers]:
    """Return by kind the (n,) partner of each record, -1 for none; it does not depend on the order of the records.

    Args:
        records: the records.
        related: by category, the categories that may be true of its images, too.
    """
    order = np.lexsort((records.text, records.key))
    sorted_records = Captioned(
        key=records.key[order],
        image=records.image[order],
        group=records.group[order],
        text=records.text[order],
        category=records.category[order],
        statements=[records.statements[row] for row in order.tolist()],
    )
    words = _Words(sorted_records.statements)
    matching = _Matching(sorted_records, words)
    matched: dict[Kind, Integers] = {
        "category": matching.matched(
            _named(sorted_records), False, _other_category(sorted_records, related)
        ),
        "attribute": matching.matched(
            _with_things(sorted_records), True, _other_attribute(sorted_records)
        ),
    }
    found = {}
    for kind, partner in matched.items():
        found[kind] = np.full(len(order), -1)
        found[kind][order] = np.where(partner >= 0, order[partner], -1)
    return found


class _Words:
    """The words of n captions as numbers, with a weight for each word: rare ones weigh more."""

    def __init__(self, statements: Sequence[Statement]):
        texts = [statement.words for statement in statements]
        found, words, times = np.unique(
            np.frombuffer(b"".join(texts), np.uint32), return_inverse=True, return_counts=True
        )
        size = len(statements) ** 4  # so that the weights have steps of a quarter of a bit
        weight = [(size // each**4).bit_length() - 1 for each in times.tolist()]
        self._hash = found.astype(np.uint64)
        self._words = words
        self._lengths = np.array([len(text) // 4 for text in texts], np.int64)
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._weight: Integers = np.array(weight, np.int64)
        self._total = self._sums(self._weight[words])
        self._several = (times > 1) & (self._weight > 0)

    def signature(self, rows: Integers, number: int) -> Keys:
        """Return (len(rows),) the MinHash of the words of captions; each number gives another one."""
        most = np.iinfo(np.uint64).max
        signature = _mixed(self._hash | np.uint64(number + 1 << 32))
        signature //= np.maximum(self._weight, 1).astype(np.uint64)
        signature[~self._several] = most
        lowest = np.full(len(self._lengths), most)
        filled = np.flatnonzero(self._lengths)
        if len(filled):
            lowest[filled] = np.minimum.reduceat(signature[self._words], self._starts[filled])
        return lowest[rows]

    def similarity(self, rows: Integers) -> npt.NDArray[np.float32]:
        """Return (b, b) the weight of the words that two captions share, over the mean weight of both."""
        lengths = self._lengths[rows]
        row = np.arange(len(rows)).repeat(lengths)
        word = self._words[_ranges(self._starts[rows], lengths)]
        here, column, times = np.unique(word, return_inverse=True, return_counts=True)
        useful = (times > 1) & (self._weight[here] > 0)
        kept = useful[column]
        column = (np.cumsum(useful) - 1)[column]
        table = np.zeros((len(rows), np.count_nonzero(useful)), np.float32)
        table[row[kept], column[kept]] = 1
        both = (table * self._weight[here[useful]].astype(np.float32)) @ table.T
        total = self._total[rows].astype(np.float32)
        similar: npt.NDArray[np.float32] = 2 * both / np.maximum(total[:, None] + total, 1)
        return similar

    def _sums(self, values: Integers) -> Integers:
        """Return the sum of the values of the words of each caption."""
        sums: Integers = np.concatenate([[0], np.cumsum(values)])
        found: Integers = sums[self._starts + self._lengths] - sums[self._starts]
        return found


Allowed = Callable[[Integers], Mask]
"""Returns (b, b) which of b records may be a pair, as far as their kind says."""


@dataclass(frozen=True, eq=False)
class _Matching:
    """Matches records block by block."""

    records: Captioned
    words: _Words

    def matched(self, rows: Integers, one_category: bool, allowed: Allowed) -> Integers:
        """Return the (n,) partner of each record, -1 for none.

        Args:
            rows: the records that may be in a pair.
            one_category: whether both records of a pair have one category.
            allowed: which pairs are of this kind.
        """
        partner = np.full(len(self.records.key), -1)
        category = self.records.category if one_category else np.zeros(len(partner), np.int64)
        sizes = np.bincount(category[rows], minlength=1)
        for number, lowest in enumerate(_ROUNDS):
            is_last = number == len(_ROUNDS) - 1
            free = rows[partner[rows] < 0]
            free = free if is_last else free[sizes[category[free]] > BLOCK]
            one, two = (self.words.signature(free, 2 * number + each) for each in (0, 1))
            free = free[np.lexsort((two, one, category[free]))]
            for block in _blocks(free, category):
                row, other = self._in_block(block, allowed, lowest)
                partner[row], partner[other] = other, row
        return partner

    def _in_block(
        self, rows: Integers, allowed: Allowed, lowest: float
    ) -> tuple[Integers, Integers]:
        """Return the records of the pairs of a block, the most similar ones matched first."""
        rows = np.sort(rows)
        score = (self.words.similarity(rows) * _FINE).astype(np.int64)
        may = allowed(rows) & (score >= lowest * _FINE)
        for column in (self.records.image, self.records.group, self.records.text):
            may &= column[rows][:, None] != column[rows]
        places = np.arange(len(rows))
        # No row has equal scores, so the best pair of all is the best of both its records.
        score = np.where(may, score * (2 * len(rows)) + places[:, None] + places, -1)
        found = []
        while score.size:
            best = score.argmax(axis=1)
            each = np.arange(len(rows))
            highest = score[each, best]
            mutual = (best[best] == each) & (highest >= 0)
            if not mutual.any():
                break
            first = mutual & (each < best)
            found.append((rows[first], rows[best[first]]))
            left = ~mutual & (highest >= 0)
            rows, score = rows[left], score[np.ix_(left, left)]
        if not found:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        one, other = (np.concatenate(part) for part in zip(*found, strict=True))
        return one, other


def _blocks(rows: Integers, category: Integers) -> Iterator[Integers]:
    """Yield rows in blocks; small categories share a block, and a large one is divided evenly."""
    borders = np.flatnonzero(np.diff(category[rows])) + 1
    waiting: list[Integers] = []
    size = 0
    for part in np.split(rows, borders):
        if size + len(part) > BLOCK and waiting:
            yield np.concatenate(waiting)
            waiting, size = [], 0
        if len(part) > BLOCK:
            yield from np.array_split(part, -(-len(part) // BLOCK))
        elif len(part):
            waiting.append(part)
            size += len(part)
    if waiting:
        yield np.concatenate(waiting)


def _named(records: Captioned) -> Integers:
    named = np.array([each.named for each in records.statements], bool)
    return np.flatnonzero(named & (records.category >= 0))


def _other_category(records: Captioned, related: Sequence[frozenset[int]]) -> Allowed:
    """Allow two records if the category that each caption names is surely false for the image of the other."""
    true: dict[int, set[int]] = defaultdict(set)
    for image, own, statement in zip(
        records.image.tolist(), records.category.tolist(), records.statements, strict=True
    ):
        true[image].update(statement.categories)
        if own >= 0:
            true[image].update(related[own])

    def allowed(rows: Integers) -> Mask:
        categories, column = np.unique(records.category[rows], return_inverse=True)
        of_category = {number: place for place, number in enumerate(categories.tolist())}
        may_be_true = np.zeros((len(rows), len(categories)), bool)
        for row, image in enumerate(records.image[rows].tolist()):
            may_be_true[row, [of_category[each] for each in true[image] if each in of_category]] = 1
        wrong = ~may_be_true[:, column]
        return wrong & wrong.T

    return allowed


def _with_things(records: Captioned) -> Integers:
    has_things = np.array([bool(each.things) for each in records.statements], bool)
    return np.flatnonzero(has_things & (records.category >= 0))


def _other_attribute(records: Captioned) -> Allowed:
    """Allow two records if what each says of one noun is excluded by all that the captions of the other's image say."""
    of_image: dict[int, set[Value]] = defaultdict(set)
    for image, statement in zip(records.image.tolist(), records.statements, strict=True):
        of_image[image].update(statement.values)

    tables = {type_: _Values(type_, of_image.values()) for type_ in sorted(OF_NEXT_NOUN)}

    def allowed(rows: Integers) -> Mask:
        may = np.zeros((len(rows), len(rows)), bool)
        places: dict[tuple[str, str], dict[int, set[Value]]] = defaultdict(lambda: defaultdict(set))
        for place, row in enumerate(rows.tolist()):
            for noun, type_, value in records.statements[row].things:
                places[type_, noun][place].add((type_, value))
        true = [of_image[image] for image in records.image[rows].tolist()]
        fitting = {type_: values.fits @ values.table(true).T for type_, values in tables.items()}
        for (type_, _), stated in places.items():
            if len(stated) > 1:
                here = np.array(list(stated))
                table = tables[type_].table(list(stated.values()))
                wrong = table @ fitting[type_][:, here] == 0
                may[np.ix_(here, here)] |= wrong & wrong.T
        found: Mask = may & (records.category[rows][:, None] == records.category[rows])
        return found

    return allowed


class _Values:
    """The V values of a type, and which of them may be true of one thing."""

    def __init__(self, type_: str, stated: Iterable[set[Value]]):
        found = sorted({value for values in stated for value in values if value[0] == type_})
        self._number = {value: number for number, value in enumerate(found)}
        self.fits = np.array(
            [[not excluded(type_, one, two) for _, two in found] for _, one in found], np.float32
        ).reshape(len(found), len(found))

    def table(self, stated: Sequence[set[Value]]) -> npt.NDArray[np.float32]:
        """Return (n, V) which of these values are in each of n sets."""
        table = np.zeros((len(stated), len(self._number)), np.float32)
        places = [
            (row, self._number[value])
            for row, values in enumerate(stated)
            for value in values
            if value in self._number
        ]
        if places:
            table[tuple(np.array(places).T)] = 1
        return table


def _ranges(starts: Integers, lengths: Integers) -> Integers:
    """Return the numbers from each start, as many as its length."""
    offsets = np.cumsum(lengths) - lengths
    return np.arange(int(lengths.sum())) - offsets.repeat(lengths) + starts.repeat(lengths)


def _mixed(keys: Keys) -> Keys:
    """Return hashes of 64-bit numbers (splitmix64)."""
    mixed = keys + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
