"""Natural pairs: records of which each one's own caption is false for the image of the other.

Both captions are true of some image, so nothing in them is made up. Each is right once and wrong once, so a scorer
that ignores the image cannot win a pair. There are two kinds: records of different categories whose captions are
otherwise alike, and records of one category that give one noun attributes that exclude each other. `state` reads what
a caption states: its words, its categories and its attributes with their nouns.

Within a block of records, the pair with the most similar captions is matched first. A block is small, so several
rounds follow, in which other records share a block (by MinHash of their words) and pairs may be less similar. All
scores are integers or correctly rounded quotients of integers below 2**24, so they are the same on every machine.
"""

import re
import zlib
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from fdrd.negatives.catalog import Category
from fdrd.negatives.values import JOINS, Value, excluded, has_clear_color, value_of
from fdrd.record import Attribute, Kind, TaggedCaption
from fdrd.text.mentions import Mention, NameIndex, find_mentions

OF_NEXT_NOUN = frozenset(["color", "count"])  # stand before what they describe
_BETWEEN = OF_NEXT_NOUN | {"pattern", "shape", "size", "material"}  # may stand between it and them
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_NO_NOUN = frozenset(
    """and or a an the of in on at to with without by for from near over under as is are was were has have that which
    its their his her it this these those all both each other another one""".split()
)

Integers = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

BLOCK = 256  # records that are compared with one another in a round
_ROUNDS = (0.4, 0.2, 0, 0)
"""The lowest similarity of a pair in each round; records that fit into one block have the last round only."""
_FINE = 1 << 20  # steps of a similarity


class Statement(Struct, frozen=True, gc=False):
    """What a caption states.

    `words` are keys of its distinct words outside the mentions of its category: 32-bit numbers, in bytes. `named` says
    whether it names its category, `categories` are the indices of those that it may mention. `values` are all its
    attribute values, `things` (noun, type, value) for each attribute whose noun is known.
    """

    words: bytes
    named: bool
    categories: tuple[int, ...]
    values: tuple[Value, ...]
    things: tuple[tuple[str, str, str], ...]


def state(
    caption: TaggedCaption,
    categories: Sequence[Category],
    index: NameIndex,
    index_of: Mapping[str, int],
) -> Statement:
    """Return what a caption states; the other arguments are parts of the catalog of its domain."""
    text, category = caption.caption, index_of.get(caption.category, -1)
    found = index.find(text)
    pattern = categories[category].pattern if category in found else None
    mentions = find_mentions(text, pattern) if pattern else []
    return Statement(
        words=_word_keys(text, mentions),
        named=bool(mentions),
        categories=tuple(sorted(found)),
        values=tuple(sorted({value_of(span) for span in caption.attributes})),
        things=tuple(sorted(set(_things(text, caption.attributes)))),
    )


def _word_keys(text: str, mentions: Sequence[Mention]) -> bytes:
    for mention in reversed(mentions):
        text = f"{text[: mention.start]} {text[mention.end :]}"
    return array("I", sorted(set(map(_word_key, _WORD.findall(text.lower()))))).tobytes()


@lru_cache(maxsize=65_536)
def _word_key(word: str) -> int:
    return zlib.crc32(word.encode("utf-8", "replace"))


def _things(text: str, attributes: Sequence[Attribute]) -> list[tuple[str, str, str]]:
    """Return the noun of each attribute that stands before one: "a red and white double-decker bus"."""
    found = []
    for index, span in enumerate(attributes):
        if span.type not in OF_NEXT_NOUN:
            continue
        end, last = span.end, span
        for after in attributes[index + 1 :]:
            between = text[end : after.start].strip().lower()
            joined = between in JOINS and after.type == span.type
            if after.type not in _BETWEEN or not (joined or not between):
                break
            end, last = after.end, after
        noun = _noun_after(text, last.end)
        if noun and (span.type != "color" or has_clear_color(noun)):
            found.append((noun, *value_of(span)))
    return found


def _noun_after(text: str, end: int) -> str:
    """Return the word that follows directly, in the singular as far as an "s" makes the plural; empty without one."""
    match = _WORD.match(text, end + 1) if text[end : end + 1] == " " else None
    word = match.group().lower() if match else ""
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss") and word not in _NO_NOUN:
        return word[:-1]
    return "" if word in _NO_NOUN else word


class Captioned(NamedTuple):
    """The n records of one domain and split that are to be matched.

    `key` (n,) is a hash of the id, which breaks ties; `text` (n,) is the key of the normalized caption. `image` (n,)
    and `group` (n,) are numbers, that of an image the same for near duplicates. `category` (n,) is the index of the
    category, -1 for none. `statements` are what each caption states. No pair is of one image, group or text.
    """

    key: Keys
    image: Integers
    group: Integers
    text: Keys
    category: Integers
    statements: Sequence[Statement]


def natural_pairs(records: Captioned, related: Sequence[frozenset[int]]) -> dict[Kind, Integers]:
    """Return by kind the (n,) partner of each record, -1 for none; it does not depend on the order of the records.

    `related` has by category the categories that may be true of its images, too.
    """
    order = np.lexsort((records.text, records.key))
    statements = [records.statements[row] for row in order.tolist()]
    arrays = ("key", "image", "group", "text", "category")
    ordered = records._replace(**{name: getattr(records, name)[order] for name in arrays})
    ordered = ordered._replace(statements=statements)
    words, has_category = _Words(statements), ordered.category >= 0
    named = np.array([each.named for each in statements], bool) & has_category
    with_things = np.array([bool(each.things) for each in statements], bool) & has_category
    one_category = np.zeros(len(order), np.int64)
    matched: dict[Kind, Integers] = {
        "category": _matched(
            ordered, words, named, one_category, _other_category(ordered, related)
        ),
        "attribute": _matched(
            ordered, words, with_things, ordered.category, _other_attribute(ordered)
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
        keys = np.frombuffer(b"".join(texts), np.uint32)
        found, words, times = np.unique(keys, return_inverse=True, return_counts=True)
        size = len(statements) ** 4  # so that the weights have steps of a quarter of a bit
        weight = [(size // each**4).bit_length() - 1 for each in times.tolist()]
        self._hash = found.astype(np.uint64)
        self._words = words
        self._lengths = np.array([len(text) // 4 for text in texts], np.int64)
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._weight: Integers = np.array(weight, np.int64)
        sums = np.concatenate([[0], np.cumsum(self._weight[words])])
        self._total: Integers = sums[self._starts + self._lengths] - sums[self._starts]
        self._several = (times > 1) & (self._weight > 0)

    def signature(self, rows: Integers, seed: int) -> Keys:
        """Return (len(rows),) the MinHash of the words of captions; each seed gives another one."""
        most = np.iinfo(np.uint64).max
        signature = splitmix64(self._hash | np.uint64(seed + 1 << 32))
        signature //= np.maximum(self._weight, 1).astype(np.uint64)
        signature[~self._several] = most
        lowest = np.full(len(self._lengths), most)
        filled = np.flatnonzero(self._lengths)
        if len(filled):
            lowest[filled] = np.minimum.reduceat(signature[self._words], self._starts[filled])
        return lowest[rows]

    def similarity(self, rows: Integers) -> npt.NDArray[np.float32]:
        """Return (b, b) the weight of the words that two captions share, over the mean weight of both."""
        starts, lengths = self._starts[rows], self._lengths[rows]
        row = np.arange(len(rows)).repeat(lengths)
        shift = (starts - np.cumsum(lengths) + lengths).repeat(lengths)
        word = self._words[np.arange(len(shift)) + shift]
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


Allowed = Callable[[Integers], Mask]
"""Returns (b, b) which of b records may be a pair, as far as their kind says."""


def _matched(
    records: Captioned, words: _Words, rows: Mask, category: Integers, allowed: Allowed
) -> Integers:
    """Return the (n,) partner of each record, -1 for none.

    `rows` (n,) may be in a pair, of which both records have one `category` (n,). `allowed` says which pairs are of this
    kind.
    """
    partner = np.full(len(rows), -1)
    sizes = np.bincount(category[rows], minlength=1)
    for round_, lowest in enumerate(_ROUNDS):
        free = np.flatnonzero(rows & (partner < 0))
        if round_ < len(_ROUNDS) - 1:
            free = free[sizes[category[free]] > BLOCK]
        one, two = (words.signature(free, 2 * round_ + each) for each in (0, 1))
        free = free[np.lexsort((two, one, category[free]))]
        for block in map(np.sort, _blocks(free, category)):
            score = (words.similarity(block) * _FINE).astype(np.int64)
            may = allowed(block) & (score >= lowest * _FINE)
            for column in (records.image, records.group, records.text):
                may &= column[block][:, None] != column[block]
            for row, other in _best_pairs(np.where(may, score, -1)):
                partner[block[row]], partner[block[other]] = block[other], block[row]
    return partner


def _best_pairs(score: Integers) -> Iterator[tuple[Integers, Integers]]:
    """Yield rows and columns of the pairs of a symmetric (b, b) score, the best first; those below 0 are none."""
    rows = np.arange(len(score))
    # No row has equal scores, so the best pair of all is the best of both its records.
    score = np.where(score >= 0, score * (2 * len(rows)) + rows[:, None] + rows, -1)
    while score.size:
        each, best = np.arange(len(rows)), score.argmax(axis=1)
        possible = score[each, best] >= 0
        mutual = (best[best] == each) & possible
        if not mutual.any():
            return
        first = mutual & (each < best)
        yield rows[first], rows[best[first]]
        left = ~mutual & possible
        rows, score = rows[left], score[np.ix_(left, left)]


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


def _other_category(records: Captioned, related: Sequence[frozenset[int]]) -> Allowed:
    """Allow two records if the category that each caption names is surely false for the image of the other."""
    true: dict[int, set[int]] = defaultdict(set)
    columns = records.image.tolist(), records.category.tolist(), records.statements
    for image, category, statement in zip(*columns, strict=True):
        true[image].update(statement.categories)
        if category >= 0:
            true[image].update(related[category])

    def allowed(rows: Integers) -> Mask:
        categories, column = np.unique(records.category[rows], return_inverse=True)
        column_of = {category: index for index, category in enumerate(categories.tolist())}
        may_be_true = np.zeros((len(rows), len(categories)), bool)
        for row, image in enumerate(records.image[rows].tolist()):
            may_be_true[row, [column_of[each] for each in true[image] if each in column_of]] = True
        wrong = ~may_be_true[:, column]
        return wrong & wrong.T

    return allowed


def _other_attribute(records: Captioned) -> Allowed:
    """Allow two records if what each says of one noun is excluded by all that the captions of the other's image say."""
    of_image: dict[int, set[Value]] = defaultdict(set)
    for image, statement in zip(records.image.tolist(), records.statements, strict=True):
        of_image[image].update(statement.values)

    tables = {type_: _Values(type_, of_image.values()) for type_ in sorted(OF_NEXT_NOUN)}

    def allowed(rows: Integers) -> Mask:
        may = np.zeros((len(rows), len(rows)), bool)
        nouns: dict[tuple[str, str], dict[int, set[Value]]] = defaultdict(lambda: defaultdict(set))
        for index, row in enumerate(rows.tolist()):
            for noun, type_, value in records.statements[row].things:
                nouns[type_, noun][index].add((type_, value))
        true = [of_image[image] for image in records.image[rows].tolist()]
        fitting = {type_: values.fits @ values.table(true).T for type_, values in tables.items()}
        for (type_, _), stated in nouns.items():
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
        self._column = {value: column for column, value in enumerate(found)}
        fits = [[not excluded(type_, one, two) for _, two in found] for _, one in found]
        self.fits = np.array(fits, np.float32).reshape(len(found), len(found))

    def table(self, stated: Sequence[set[Value]]) -> npt.NDArray[np.float32]:
        """Return (n, V) which of these values are in each of n sets."""
        table = np.zeros((len(stated), len(self._column)), np.float32)
        for row, values in enumerate(stated):
            table[row, [self._column[value] for value in values if value in self._column]] = 1
        return table


def splitmix64(keys: npt.NDArray[np.integer]) -> Keys:
    """Return the hash of each integer."""
    mixed = keys.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
