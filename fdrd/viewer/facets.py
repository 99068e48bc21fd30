"""Facets: which rows a filter selects, and how many rows each value of a facet has. Pure functions over columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache, reduce
from operator import and_
from typing import Any
from urllib.parse import quote_plus

import numpy as np
import numpy.typing as npt

from fdrd.negatives.natural_pairs import splitmix64

Indices = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]
Reviewed = Mapping[str, Mapping[str, Indices]]
"""The rows of each value of the facets that decisions change."""

SINGLE = {
    "domain": "Domain",
    "split": "Split",
    "category": "Category",
    "meta": "Meta-category",
    "license": "License",
    "length": "Caption length",
    "near": "Near duplicates",
}
"""Facets with one value per row: the name in the URL, and the heading."""
MULTIPLE = {"type": "Attribute type", "value": "Attribute value", "flag": "Audit flag"}
"""Facets with any number of values per row."""
REVIEWED = {"verified": "Review", "tag": "Tag"}
"""Facets that decisions change: the rows of their values come with each question."""
TITLES = {**SINGLE, **MULTIPLE, **REVIEWED}
ORDERS = {"dataset": "Dataset order", "random": "Random", "short": "Shortest", "long": "Longest"}
PAGE = 48
MATCHES = 5 * PAGE  # rows that a search by meaning selects: the best of those that fit the filters
SHOWN, MOST = 8, 1000  # values of a facet that are listed, and the most where all are asked for
MAX_ID = 2000  # characters of a record id in an address
MOST_CHOSEN = 500  # values that an address may choose


_quoted = lru_cache(1 << 16)(quote_plus)  # a page has hundreds of links, and most values come again


def query_url(path: str, pairs: Iterable[tuple[str, str]]) -> str:
    """Return a URL with a query.

    >>> query_url("/", [("q", "a b")]), query_url("/", [])
    ('/?q=a+b', '/')
    """
    query = "&".join(f"{name}={_quoted(value)}" for name, value in pairs)
    return f"{path}?{query}" if query else path


def whole_number(text: str, most: int) -> int | None:
    """Return a whole number of a URL, `most` if it is larger; None for other text.

    >>> whole_number("12", 100), whole_number("1200", 100), whole_number("-1", 100)
    (12, 100, None)
    """
    return min(int(text[:20]), most) if text.isascii() and text.isdecimal() else None


@dataclass(frozen=True, slots=True)
class State:
    """What the URL says: the search, the chosen values of each facet, order, and page."""

    q: str = ""  # text that is searched for
    chosen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    order: str = "dataset"
    page: int = 1
    similar: str = ""  # key of the method that searches by meaning; without it, words are searched
    like: str = ""  # id of a record whose image is searched for, by meaning, if there is no text
    area: str = ""  # polygon on the map

    @property
    def by_meaning(self) -> bool:
        """Whether the search is one by meaning."""
        return bool(self.similar and (self.q or self.like))

    def url(self, path: str = "/", **changes: Any) -> str:
        """Return the URL of this state with some of it changed; fields that are not of the state are appended."""
        others = [(name, str(changes.pop(name))) for name in [*changes] if name not in _FIELDS]
        state = replace(self, **{"page": 1, **changes})
        return query_url(path, state.pairs() + others)

    def pairs(self) -> list[tuple[str, str]]:
        """Return names and values of the query of this state."""
        searched = {"q": self.q, "similar": self.similar, "like": self.like, "area": self.area}
        pairs = [(name, value) for name, value in searched.items() if value]
        pairs += [(name, value) for name in sorted(self.chosen) for value in self.chosen[name]]
        if self.order != "dataset":
            pairs.append(("order", self.order))
        if self.page > 1:
            pairs.append(("page", str(self.page)))
        return pairs

    def toggled(self, name: str, value: str) -> State:
        """Return the state with a value of a facet chosen, or no longer chosen."""
        old = self.chosen.get(name, ())
        new = tuple(v for v in old if v != value) if value in old else (*old, value)
        return self.choosing(name, new)

    def choosing(self, name: str, values: Sequence[str]) -> State:
        """Return the state with these values of a facet chosen, and no others of it."""
        chosen = {**self.chosen, name: tuple(values)}
        return replace(self, chosen={k: v for k, v in chosen.items() if v}, page=1)

    @property
    def key(self) -> tuple[tuple[str, str], ...]:
        """What identifies the selection, whatever the page."""
        return tuple(replace(self, page=1).pairs())


_AREA = re.compile(r"\d{1,4},\d{1,4}(,\d{1,4},\d{1,4}){2,63}")  # corners of a polygon on the map
_FIELDS = frozenset(each.name for each in fields(State))
_READERS: dict[str, Callable[[str], Any]] = {
    "q": lambda value: value.strip()[:200],
    "similar": lambda value: value[:40],
    "like": lambda value: value[:MAX_ID],
    "area": lambda value: value if _AREA.fullmatch(value) else None,
    "order": lambda value: value if value in ORDERS else None,
    "page": lambda value: max(1, whole_number(value, 10**6) or 1),
}
"""What a field of a state reads of a value; None ignores it."""


def parse_state(pairs: Iterable[tuple[str, str]]) -> State:
    """Return the state of a query string; whatever is unknown is ignored.

    >>> parse_state([("q", "red"), ("split", "test"), ("page", "-2"), ("evil", "1")])
    State(q='red', chosen={'split': ('test',)}, order='dataset', page=1, similar='', like='', area='')
    """
    chosen: dict[str, dict[str, None]] = {}
    found: dict[str, Any] = {}
    for name, text in pairs:
        if name in TITLES:
            chosen.setdefault(name, {})[text] = None
        elif name in _READERS and (value := _READERS[name](text)) is not None:
            found[name] = value
    return State(chosen={name: tuple(values) for name, values in chosen.items()}, **found)


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a facet: its label, the number of rows, and whether it is chosen."""

    label: str
    count: int
    chosen: bool


class Columns:
    """The columns of an index: labels and one code per row, or a code per (row, value) for multiple facets."""

    def __init__(self, columns: Mapping[str, tuple[list[str], Indices, Indices | None]]):
        self.labels = {name: labels for name, (labels, _, _) in columns.items()}
        self.codes = {name: codes for name, (_, codes, _) in columns.items()}
        self._rows = {name: rows for name, (_, _, rows) in columns.items() if rows is not None}
        self._codes = {
            name: {label: code for code, label in enumerate(labels)}
            for name, labels in self.labels.items()
        }
        self.size = len(self.codes["domain"])

    def mask(self, name: str, values: Sequence[str]) -> Mask:
        """Return which rows have one of the values."""
        known = [self._codes[name][value] for value in values if value in self._codes[name]]
        codes = self.codes[name]
        wanted = codes == known[0] if len(known) == 1 else np.isin(codes, known)
        if name not in self._rows:
            return wanted
        mask = np.zeros(self.size, bool)
        mask[self._rows[name][wanted]] = True
        return mask

    def rows_of(self, name: str) -> Indices:
        """Return the row of each value of a multiple facet."""
        return self._rows[name]

    def counts(self, name: str, mask: Mask) -> Counts:
        """Return the number of masked rows of each value."""
        chosen = mask[self._rows[name]] if name in self._rows else mask
        return np.bincount(self.codes[name][chosen], minlength=len(self.labels[name]))


@dataclass(frozen=True, slots=True)
class Facet:
    """The values of a facet, the first chosen ones, then the most frequent, and how many more there are."""

    name: str
    title: str
    values: list[Value]
    more: int


@dataclass(frozen=True, slots=True)
class Selection:
    """What a state selects: rows in order, and the facets."""

    rows: Indices
    facets: list[Facet]


def select(
    columns: Columns,
    state: State,
    found: Indices | None,
    reviewed: Reviewed,
    all_of: str = "",
    scores: Floats | None = None,
) -> Selection:
    """Select rows and count facets. The counts of a facet ignore its own choice, so that values can be added.

    Args:
        columns: columns of the index.
        state: the filter.
        found: rows that the full-text search gave, if there was one.
        reviewed: rows by label of each facet in `REVIEWED` that has any.
        all_of: the facet of which all values are listed.
        scores: score of each row in a search by meaning; the best `MATCHES` rows are selected.
    """
    everything, masks = np.ones(columns.size, bool), dict[str, Mask]()
    if found is not None:
        masks["q"] = np.zeros(columns.size, bool)
        masks["q"][found] = True
    for name, values in state.chosen.items():
        if name in REVIEWED:
            masks[name] = np.zeros(columns.size, bool)
            for value in values:
                masks[name][reviewed.get(name, {}).get(value, [])] = True
        else:
            masks[name] = columns.mask(name, values)

    def rows_but(name: str) -> Mask:
        mask = reduce(and_, (mask for key, mask in masks.items() if key != name), everything)
        return mask if scores is None else _best(scores, mask)

    facets: list[Facet] = []
    selected = rows_but("")
    for name in (*SINGLE, *MULTIPLE, *reviewed):
        mask = rows_but(name) if name in masks else selected
        if name in reviewed:
            labels, rows_of = [*reviewed[name]], reviewed[name].values()
            counts = np.array([np.count_nonzero(mask[rows]) for rows in rows_of], np.int64)
        else:
            labels, counts = columns.labels[name], columns.counts(name, mask)
        limit = MOST if name == all_of else SHOWN
        facets.append(_facet(name, labels, counts, state.chosen.get(name, ()), limit))
    rows = np.flatnonzero(selected).astype(np.int32)
    keys: npt.NDArray[Any]
    if state.order == "random":
        keys = splitmix64(rows)
    elif state.order in ("short", "long"):
        keys = columns.codes["words"][rows] * (1 if state.order == "short" else -1)
    elif scores is not None:
        keys = -scores[rows]
    else:
        return Selection(rows, facets)
    return Selection(rows[np.argsort(keys, kind="stable")], facets)


def _best(scores: Floats, mask: Mask) -> Mask:
    """Return the rows of a mask with the highest scores, those with a score of -inf left out."""
    rows = np.flatnonzero(mask & (scores > -np.inf))
    rows = rows[np.argsort(-scores[rows], kind="stable")[:MATCHES]]
    best = np.zeros(len(scores), bool)
    best[rows] = True
    return best


def _facet(
    name: str, labels: list[str], counts: Counts, chosen: Sequence[str], limit: int
) -> Facet:
    present = np.flatnonzero(counts)
    first = present[np.argsort(-counts[present], kind="stable")[:limit]].tolist()
    # Each is a link with all filters: to list all chosen ones would take time in the square of their number.
    known = {label: int(counts[labels.index(label)]) for label in chosen[:SHOWN] if label in labels}
    values = [Value(label, known.get(label, 0), True) for label in chosen[:SHOWN]]
    listed = set(chosen)
    values += [Value(labels[n], int(counts[n]), False) for n in first if labels[n] not in listed]
    return Facet(name, TITLES[name], values, max(0, len(present) - limit))
