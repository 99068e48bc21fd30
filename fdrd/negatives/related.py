"""Categories that one image may show together, so that neither is false where the other is true.

Three signs are read from the names and captions of a domain, without lists of its categories:

- One name contains the other, parts aside: "chair" and "windsor chair", "cougar body" and "cougar face".
- Captions of one category name the other: those of "perforated" say "mesh", so "meshed" may be true as well.
- Where captions do so for many pairs, the names are properties of things, as textures are. A thing has several, and
  captions do not name all of them. There, categories are also related if the same words describe them.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from fdrd.negatives.context import Descriptions
from fdrd.record import Record, TaggedCaption
from fdrd.text.lexicon import entries
from fdrd.text.mentions import NameIndex, key, mention_pattern, spoken

_WORD = re.compile(r"[^\W\d_]+")
_SHORTEST, _ENDING = 4, 3  # letters of a stem, and those after it: "mesh" and "meshed"
_SAMPLE = 100  # captions of each category that are searched for names of others
_RARE = 0.01  # of them that have the whole name of another category
_SHARE = 0.04  # of them that have a word of its stem, and two at least
_PROPERTIES = 0.05  # of all pairs of categories that are related if the names are properties
_PARTS = 1024  # steps of a similarity, so that sums are exact on every machine


def related_by_name(
    records: Mapping[str, Sequence[Record | TaggedCaption]],
) -> list[set[int]]:
    """Return, for each category, those whose names contain its name or that its captions name, and the reverse.

    Args:
        records: the records of each category.
    """
    names = list(records)
    index = NameIndex([(*mention_pattern(name).plurals, name) for name in names])
    stems = _stems([key(name) for name in names])
    found = _contained(names)
    for place, (name, some) in enumerate(records.items()):
        own = key(name).split()
        sample = some[:: 1 + len(some) // _SAMPLE]
        whole: Counter[int] = Counter()
        part: Counter[int] = Counter()
        for record in sample:
            whole.update(index.find(record.caption))
            words = set(_WORD.findall(record.caption.lower())).difference(own)
            part.update({other for word in words for other in stems(word)})
        found[place] |= {other for other, n in whole.items() if n >= _RARE * len(sample)}
        found[place] |= {other for other, n in part.items() if n >= max(2, _SHARE * len(sample))}
    return _symmetric(found)


def related_by_words(related: Sequence[set[int]], descriptions: Descriptions) -> Sequence[set[int]]:
    """Add the categories that the same words describe, if names of the domain are properties.

    Three of four pairs that are known to be related are at least as similar.

    Args:
        related: what `related_by_name` returns.
        descriptions: the words around the name in the captions of each category.
    """
    size = len(related)
    known = np.array(
        [(one, other) for one, others in enumerate(related) for other in others if one < other]
    )
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
    for place, name in enumerate(names):
        if " " not in name and len(name) >= _SHORTEST:
            stems[name[: max(_SHORTEST, len(name) - _ENDING)]].append(place)
    lengths = sorted({len(stem) for stem in stems})

    @cache
    def found(word: str) -> frozenset[int]:
        return frozenset(place for size in lengths for place in stems.get(word[:size], ()))

    return found


def _contained(names: Sequence[str]) -> list[set[int]]:
    """Return, for each name, those that it contains, parts aside."""
    parts = frozenset(entries("part"))
    whole = [spoken(name) for name in names]
    bare = [
        " ".join(word for word in name.split() if word.lower() not in parts) or name
        for name in whole
    ]
    index = NameIndex([tuple({*each}) for each in zip(whole, bare, strict=True)])
    return [index.find(name) for name in whole]


def _symmetric(found: list[set[int]]) -> list[set[int]]:
    """Return the relation without a category's relation to itself, in both directions."""
    both: list[set[int]] = [set() for _ in found]
    for place, others in enumerate(found):
        for other in others - {place}:
            both[place].add(other)
            both[other].add(place)
    return both
