"""Results for the viewer: comparisons of runs, and the record that each of their queries is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.rank_metrics import DIRECTIONS, Floats
from benchmark.registry import Method
from benchmark.reporting.comparison import PairedComparison, group_results, heading
from benchmark.reporting.significance import compare
from benchmark.result import BenchResult, numbers, read_result, result_files
from benchmark.settings import Settings
from fdrd.dataset import rows_digest
from fdrd.errors import FdrdError
from fdrd.viewer.facets import Indices
from fdrd.viewer.false_captions import (
    FalseCaptions,
    false_captions,
    kind_of_negative,
    kind_of_pair,
)
from fdrd.viewer.index import Index
from fdrd.viewer.retrieved import Retrieved, Top, method_of


@dataclass(frozen=True)
class Queries:
    """The queries of a comparison as rows of the index.

    Attributes:
        rows: (N,) row of each caption query.
        image_of_row: (N,) number of the image of each.
        first: (I,) row in which each image query comes first.
    """

    rows: Indices
    image_of_row: Indices
    first: Indices

    def row(self, direction: str, number: int) -> int:
        """Return the row of a query."""
        return int((self.first if direction == "image_to_text" else self.rows)[number])


class Runs:
    """The results that the viewer was given.

    Raises:
        FdrdError: a path has no results, or one of them is broken.
    """

    def __init__(self, paths: Sequence[Path]):
        self.paths = list(paths)
        self._file: dict[int, Path] = {}
        results = []
        for path in result_files(paths):
            result = read_result(path)
            self._file[id(result)] = path
            results.append(result)
        self.comparisons = group_results(results)
        self.retrieved = Retrieved()
        self._queries: dict[tuple[Index, int], Queries | None] = {}
        self._ranks: dict[tuple[int, str], list[tuple[str, Floats]]] = {}
        self._false: dict[tuple[Index, int], FalseCaptions] = {}

    def heading(self, number: int) -> str:
        """Return what a comparison measured."""
        return heading(self.comparisons[number].settings)

    def queries(self, index: Index, number: int) -> Queries | None:
        """Return the queries of a comparison; None where it measured other data than the index holds."""
        key = (index, number)
        if key not in self._queries:
            comparison = self.comparisons[number]
            rows = _rows_of(index, comparison.settings)
            matches = (
                rows is not None
                and rows_digest(index.texts(rows)) == comparison.settings.data.fingerprint
            )
            images = numbers(comparison.rows[0].results[0].queries.image_of_row)
            found = None
            if rows is not None and matches and len(images) == len(rows):
                first = rows[np.unique(images, return_index=True)[1]]
                found = Queries(rows, images.astype(np.int32), first)
            self._queries[key] = found
        return self._queries[key]

    def ranks(self, number: int, direction: str) -> list[tuple[str, Floats]]:
        """Return the rank of every query under each method of a comparison."""
        key = (number, direction)
        if key not in self._ranks:
            rows = self.comparisons[number].rows
            self._ranks[key] = [(row.label, row.mean_ranks(direction)) for row in rows]
        return self._ranks[key]

    def ranks_of(self, index: Index, row: int) -> list[tuple[str, str, str]]:
        """Return the ranks of a record's image and caption under each method."""
        found = []
        for number in range(len(self.comparisons)):
            queries = self.queries(index, number)
            if queries is None or not (at := np.flatnonzero(queries.rows == row)).size:
                continue
            image = queries.image_of_row[at[0]]
            for (label, by_image), (_, by_row) in zip(
                *(self.ranks(number, each) for each in DIRECTIONS), strict=True
            ):
                found.append((label, f"{by_image[image]:g}", f"{by_row[at[0]]:g}"))
        return found

    def false_captions(self, index: Index, number: int) -> FalseCaptions | None:
        """Return the false captions of a comparison; None where it measured other data than the index holds."""
        key, queries = (index, number), self.queries(index, number)
        if queries is not None and key not in self._false:
            self._false = {
                k: v for k, v in self._false.items() if k[0] is index
            }  # not of a replaced one
            self._false[key] = false_captions(index, queries.rows, self.comparisons[number].rows)
        return self._false.get(key)

    def fooled_by(
        self, index: Index, record: Mapping[str, Any]
    ) -> tuple[list[list[str]], list[list[str]]]:
        """Return the methods that each hard negative of a record fools, and each caption of its natural pairs."""
        found: dict[tuple[str, int], dict[str, None]] = defaultdict(dict)
        for number in range(len(self.comparisons)):
            if false := self.false_captions(index, number):
                for key, methods in false.of_row(record["row"]).items():
                    found[key] |= dict.fromkeys(methods)
        partners = index.rows_of(pair["id"] for pair in record["natural_pairs"])
        negatives = [(kind_of_negative(each), n) for n, each in enumerate(record["negatives"])]
        pairs = [
            (kind_of_pair(each["kind"]), partners.get(each["id"], -1))
            for each in record["natural_pairs"]
        ]
        return [[*found[each]] for each in negatives], [[*found[each]] for each in pairs]

    def missed(self, index: Index, *, hardest: bool) -> Indices:
        """Return the rows that the best method does not find first: rank 2 first, or the last rank first."""
        queries, ranks = self._best(index)
        order = np.argsort(-ranks if hardest else ranks, kind="stable")
        return queries[order[ranks[order] > 1]]

    def best_ranks(self, index: Index) -> Floats:
        """Return the text-to-image rank of every row under the best method; infinite where none was measured."""
        found = np.full(index.columns.size, np.inf)
        queries, ranks = self._best(index)
        found[queries] = ranks
        return found

    def _best(self, index: Index) -> tuple[Indices, Floats]:
        """Return rows, and their ranks under the best method of the first comparison on this dataset."""
        for number, comparison in enumerate(self.comparisons):
            queries = self.queries(index, number)
            if queries is not None:
                sums = [row.results[0]["R-sum"] for row in comparison.rows]
                return queries.rows, self.ranks(number, "text_to_image")[sums.index(max(sums))][1]
        return np.zeros(0, np.int32), np.zeros(0)

    def breakdown(
        self, index: Index, number: int, facet: str
    ) -> list[tuple[str, int, list[float]]]:
        """Return label, number of captions, and text-to-image MRR of each method, for each value of a facet."""
        queries = self.queries(index, number)
        if queries is None:
            return []
        columns, found = index.columns, []
        ranks = [ranks for _, ranks in self.ranks(number, "text_to_image")]
        for label in columns.labels[facet]:
            mask = columns.mask(facet, [label])[queries.rows]
            if count := int(mask.sum()):
                found.append((label, count, [float(np.mean(1 / each[mask])) for each in ranks]))
        return sorted(found, key=lambda each: -each[1])

    def significance(self, against: str | None) -> list[PairedComparison]:
        """Return the paired tests of `fdrd compare`; nothing where there is nothing to compare.

        Raises:
            FdrdError: `against` is no method that was measured.
        """
        return _significance(tuple(self.paths), against)

    def top(self, index: Index, number: int, place: int) -> Top:
        """Return what a method retrieved, or how far computing it is; starts it where it was not yet computed."""
        result = self.comparisons[number].rows[place].results[0]
        return self.retrieved.start(index.folder, result, self._file[id(result)])

    def known_top(self, number: int, place: int) -> Top:
        """Return what a method retrieved, if it is known."""
        return self.retrieved.known(self.comparisons[number].rows[place].results[0])

    def searchable(self) -> list[tuple[str, str]]:
        """Return key and label of the methods that can search."""
        found: dict[str, str] = {}
        for number, comparison in enumerate(self.comparisons):
            for place, row in enumerate(comparison.rows):
                if self._can_load(row.results[0]):
                    found.setdefault(row.label, f"{number}.{place}")
        return [(key, label) for label, key in found.items()]

    def method(self, key: str) -> Method:
        """Return the method of a key of `searchable`, loaded.

        Raises:
            FdrdError: it cannot be loaded.
        """
        number, place = map(int, key.split("."))
        result = self.comparisons[number].rows[place].results[0]
        return method_of(result, self._file[id(result)])

    def _can_load(self, result: BenchResult) -> bool:
        weights = self._file[id(result)].with_suffix(".safetensors")
        return weights.is_file() or (result.fit is None and result.settings.method == "zero_shot")


def _rows_of(index: Index, settings: Settings) -> Indices | None:
    """Return the rows of the split and domain that were measured, in the order of the dataset."""
    columns = index.columns
    mask = columns.mask("split", [settings.split])
    if settings.domain is not None:
        mask = mask & columns.mask("domain", [settings.domain])
    rows = np.flatnonzero(mask).astype(np.int32)
    return rows if len(rows) else None


@lru_cache(16)
def _significance(paths: tuple[Path, ...], against: str | None) -> list[PairedComparison]:
    try:
        return compare(paths, against).comparisons
    except FdrdError:
        if against is None:
            return []
        raise
