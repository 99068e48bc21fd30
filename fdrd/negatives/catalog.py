"""The categories and attribute values of a domain, and the odds with which negatives are drawn from them.

Categories that one image may show together are related: neither is false where the other is true. Three signs are read
from the names and captions of a domain, without lists of its categories:

- One name contains the other, parts aside: "chair" and "windsor chair", "cougar body" and "cougar face".
- Captions of one category name the other: those of "perforated" say "mesh", so "meshed" may be true as well.
- Where captions do so for many pairs, the names are properties of things, as textures are. A thing has several, and
  captions do not name all of them. There, categories are also related if the same words describe them.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from fdrd.engines import Engine
from fdrd.files.struct_table import StructTable
from fdrd.negatives.edits import Edits, make_edits
from fdrd.negatives.odds import Descriptions, Odds, around, make_odds
from fdrd.negatives.short_names import ShortNames, find_short_names
from fdrd.record import Captions, Record, TaggedCaption
from fdrd.text.attributes import entries
from fdrd.text.grammar import has_article, looks_plural, plural
from fdrd.text.mentions import (
    MentionPattern,
    NameIndex,
    find_mentions,
    key,
    longer_names,
    mention_pattern,
    spoken,
)

_IN_MEMORY = 20_000  # captions; more are read again in each pass over them
_WORD = re.compile(r"[^\W\d_]+")
_SHORTEST, _ENDING = 4, 3  # letters of a stem, and those after it: "mesh" and "meshed"
_SAMPLE = 100  # captions of each category that are searched for names of others
_RARE = 0.01  # of them that have the whole name of another category
_SHARE = 0.04  # of them that have a word of its stem, and two at least
_PROPERTIES = 0.05  # of all pairs of categories that are related if the names are properties
_PARTS = 1024  # steps of a similarity, so that sums are exact on every machine


def related_by_name(records: Mapping[str, Captions]) -> list[set[int]]:
    """Return, for each category, those whose names contain its name or that its captions name, and the reverse."""
    names = list(records)
    mentioned = NameIndex([(*mention_pattern(name).plurals, name) for name in names])
    stems = _stems([key(name) for name in names])
    found = _contained(names)
    for index, (name, some) in enumerate(records.items()):
        name_words = key(name).split()
        sample = some[:: 1 + len(some) // _SAMPLE]
        whole: Counter[int] = Counter()
        part: Counter[int] = Counter()
        for record in sample:
            whole.update(mentioned.find(record.caption))
            words = set(_WORD.findall(record.caption.lower())).difference(name_words)
            part.update({other for word in words for other in stems(word)})
        found[index] |= {other for other, n in whole.items() if n >= _RARE * len(sample)}
        found[index] |= {other for other, n in part.items() if n >= max(2, _SHARE * len(sample))}
    return _symmetric(found)


def related_by_words(related: Sequence[set[int]], descriptions: Descriptions) -> Sequence[set[int]]:
    """Add to what `related_by_name` returns the categories that the same words describe, if names are properties.

    Three of four pairs that are known to be related are at least as similar. `descriptions` are the words around the
    name in the captions of each category.
    """
    size = len(related)
    pairs = [(one, other) for one, others in enumerate(related) for other in others if one < other]
    known = np.array(pairs)
    if len(known) < max(1, size, _PROPERTIES * size * (size - 1) / 2):
        return related
    similar = _similarity(descriptions, size)
    least = np.quantile(similar[tuple(known.T)], 0.25)
    return [
        others | set(np.flatnonzero((row >= least) & (row > 0)).tolist())
        for others, row in zip(related, similar, strict=True)
    ]


def _similarity(descriptions: Descriptions, size: int) -> npt.NDArray[np.float64]:
    """Return (C, C) the cosine of the words that each category has more often than the domain, in whole steps."""
    words = [word for word in descriptions.frequent() if word[0] not in "<>"]
    counts = descriptions.counts(words, size)
    usual = counts.sum(axis=1, keepdims=True) / max(1, len(descriptions))
    expected = usual * np.bincount(descriptions.labels, minlength=size)
    more = np.maximum(0, (counts - expected) / np.sqrt(expected * (1 - usual) + 0.5))
    parts = np.round(more / np.maximum(np.sqrt((more**2).sum(axis=0)), 1e-9) * _PARTS)
    found: npt.NDArray[np.float64] = parts.T @ parts
    return found


def _stems(names: Sequence[str]) -> Callable[[str], frozenset[int]]:
    """Return a function from a word to the names of one word whose stem it has."""
    stems: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        if " " not in name and len(name) >= _SHORTEST:
            stems[name[: max(_SHORTEST, len(name) - _ENDING)]].append(index)
    lengths = sorted({len(stem) for stem in stems})

    @cache
    def found(word: str) -> frozenset[int]:
        return frozenset(index for size in lengths for index in stems.get(word[:size], ()))

    return found


def _contained(names: Sequence[str]) -> list[set[int]]:
    """Return, for each name, those that it contains, parts aside."""
    parts = frozenset(entries("part"))
    whole = [spoken(name) for name in names]
    kept = ([word for word in name.split() if word.lower() not in parts] for name in whole)
    bare = [" ".join(words) or name for words, name in zip(kept, whole, strict=True)]
    index = NameIndex([tuple({*each}) for each in zip(whole, bare, strict=True)])
    return [index.find(name) for name in whole]


def _symmetric(found: list[set[int]]) -> list[set[int]]:
    """Return the relation without a category's relation to itself, in both directions."""
    both: list[set[int]] = [set() for _ in found]
    for index, others in enumerate(found):
        for other in others - {index}:
            both[index].add(other)
            both[other].add(index)
    return both


@dataclass(frozen=True, slots=True)
class Category:
    """A category of a domain.

    `spellings` are those of captions ("shiba inu", "Shiba Inu"), the most frequent first, `frequency` their cumulative
    counts, and `plural` that of the first. `countable` says whether it can follow "a" or "an", unlike "scissors".
    `short` are parts of the name that captions use alone. `same` are the indices of categories that may be true of its
    images: this one, names that differ only in case, separators or number, and related ones.
    """

    name: str
    spellings: tuple[str, ...]
    frequency: tuple[int, ...]
    plural: str
    countable: bool
    pattern: MentionPattern
    short: ShortNames
    same: frozenset[int]


def make_categories(records: Mapping[str, Captions]) -> tuple[Category, ...]:
    """Return the categories in the order of the mapping from name to records."""
    names = list(records)
    keys = [key(name) for name in names]
    plurals = [key(plural(spoken(name))) for name in names]
    # The pattern tries longer names first, so that "A380" is not found in "A380-800".
    patterns = list(map(mention_pattern, names, longer_names(names)))
    short = find_short_names(records, patterns)
    with_key, with_plural = _indices(keys), _indices(plurals)
    related = related_by_name(records)
    found = []
    for index, (name, pattern) in enumerate(zip(names, patterns, strict=True)):
        same = {*with_key[keys[index]], *with_plural[keys[index]], *with_key[plurals[index]]}
        written, with_article = _spellings(records[name], pattern)
        spellings = tuple(sorted(written, key=lambda text: (-written[text], text)))
        spellings = spellings or (spoken(name) or name,)
        found.append(
            Category(
                name=name,
                spellings=spellings,
                frequency=tuple(accumulate(written[text] for text in spellings if written)) or (1,),
                plural=plural(spellings[0]),
                countable=with_article > 0 or not looks_plural(spoken(name)),
                pattern=pattern,
                short=short[index],
                same=frozenset(same | related[index]),
            )
        )
    return tuple(found)


def _indices(texts: Sequence[str]) -> Mapping[str, list[int]]:
    """Return the indices of each text."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for index, text in enumerate(texts):
        found[text].append(index)
    return found


def _spellings(records: Captions, pattern: MentionPattern) -> tuple[Counter[str], int]:
    """Count the spellings of the singular, and how many follow an indefinite article."""
    written: Counter[str] = Counter()
    articles = 0
    for record in records:
        for mention in find_mentions(record.caption, pattern):
            if not mention.plural:
                written[record.caption[mention.start : mention.end]] += 1
                articles += has_article(record.caption[: mention.start])
    return written, articles


@dataclass(frozen=True, slots=True)
class Catalog:
    """The C categories of one domain, sorted by name, and how its captions describe them.

    `index_of` has the index of each name in `categories`, `index_of_key` that of each normalized spelling, including
    plurals. `index` finds the categories that a caption may name. `odds` are those of category swaps, `edits` the
    attribute swaps and their odds. `digest` changes with anything that a draw depends on.
    """

    categories: tuple[Category, ...]
    index_of: Mapping[str, int] = field(repr=False)
    index_of_key: Mapping[str, int] = field(repr=False)
    index: NameIndex = field(repr=False)
    odds: Odds = field(repr=False)
    edits: Edits = field(repr=False)
    digest: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the categories, sorted."""
        return tuple(category.name for category in self.categories)


def make_catalog(records: Sequence[Record], *, names: Iterable[str] = ()) -> Catalog:
    """Return the catalog of the records of one domain, in any order, and of additional categories of these names.

    Only caption, category and attributes of the records are used.

    >>> make_catalog([], names=["pug", "boxer"]).names
    ('boxer', 'pug')
    """
    ordered = sorted(records, key=lambda record: (record.category, record.caption))
    return _catalog(*_make_names(ordered, names), make_edits(ordered))


def catalogs_by_domain(
    captions: Mapping[str, StructTable[TaggedCaption]], engine: Engine
) -> dict[str, Catalog]:
    """Return the catalogs of domains from their captions, sorted by category and text.

    A worker of the engine makes the edits while this process does the rest.
    """
    with ThreadPoolExecutor(1) as thread:
        making = thread.submit(lambda: list(engine.run(_edits_of, captions.values())))
        named = [_make_names(_held(ordered)) for ordered in captions.values()]
        found = zip(captions, named, making.result(), strict=True)
        return {domain: _catalog(*names, edits) for domain, names, edits in found}


def _edits_of(ordered: StructTable[TaggedCaption]) -> Edits:
    return make_edits(_held(ordered))


def _held(ordered: StructTable[TaggedCaption]) -> Sequence[TaggedCaption]:
    """Return the captions in memory, unless they are too many."""
    return list(ordered) if len(ordered) <= _IN_MEMORY else ordered


def _make_names(ordered: Captions, names: Iterable[str] = ()) -> tuple[tuple[Category, ...], Odds]:
    sizes = Counter(record.category for record in ordered)
    of_category, end = {}, sizes[""]
    for name in sorted({*names, *sizes} - {""}):
        of_category[name] = ordered[end : end + sizes[name]]
        end += sizes[name]
    categories = make_categories(of_category)
    descriptions = Descriptions(
        (index, around(record.caption, (*mentions, *category.short.find(record, mentions))))
        for index, category in enumerate(categories)
        for record in of_category[category.name]
        if (mentions := find_mentions(record.caption, category.pattern))
    )
    related = related_by_words([set(each.same) for each in categories], descriptions)
    categories = tuple(
        replace(category, same=frozenset(others))
        for category, others in zip(categories, related, strict=True)
    )
    return categories, make_odds([sorted(others) for others in related], descriptions)


def _catalog(categories: tuple[Category, ...], odds: Odds, edits: Edits) -> Catalog:
    indices = {key(category.plural): index for index, category in enumerate(categories)}
    indices |= {key(category.name): index for index, category in enumerate(categories)}
    return Catalog(
        categories=categories,
        index_of={category.name: index for index, category in enumerate(categories)},
        index_of_key=indices,
        index=NameIndex([(*each.pattern.plurals, each.name) for each in categories]),
        odds=odds,
        edits=edits,
        digest=_digest(categories, odds, edits),
    )


def _digest(categories: Sequence[Category], odds: Odds, edits: Edits) -> str:
    rows = []
    for each in categories:
        short = [*each.short.counts.items()], each.short.rare
        spelled = each.name, each.spellings, each.frequency, each.countable
        rows.append((*spelled, *short, sorted(each.same)))
    names = [rows, list(odds.context.row), edits.values, list(edits.context.row)]
    digest = hashlib.sha256(repr(names).encode("utf-8", "backslashreplace"))
    arrays = [odds.bias, odds.kept, odds.size, edits.factor, edits.used, edits.mixed, edits.apart]
    for array in (*arrays, odds.context.table, edits.context.table):
        digest.update(array.tobytes())
    return digest.hexdigest()
