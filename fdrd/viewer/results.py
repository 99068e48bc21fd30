"""Results for the viewer: comparisons of runs, the record that each of their queries is, and false captions that fool.

A false caption of an image is a hard negative, or the caption of a natural pair.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmark.rank_metrics import DIRECTIONS, Floats
from benchmark.registry import Method
from benchmark.reporting.comparison import PairedComparison, Row, group_results, heading
from benchmark.result import BenchResult, from_digits, numbers, read_result, result_files
from benchmark.results import compare
from fdrd.dataset import rows_digest
from fdrd.errors import FdrdError
from fdrd.record import KINDS
from fdrd.viewer.facets import Indices
from fdrd.viewer.index import Index
from fdrd.viewer.meaning import Retrieved, Top, method_of

if TYPE_CHECKING:
    from benchmark.reporting.plots import Plot


_PAIR = "natural {} pair"  # kind of the caption of a partner


@dataclass(frozen=True)
class Queries:
    """The queries of a comparison as rows of the index."""

    rows: Indices  # (N,) row of each caption query
    image_of_row: Indices  # (N,) number of the image of each
    first: Indices  # (I,) row in which each image query comes first

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
        results = [(read_result(path), path) for path in result_files(paths)]
        self._file = {id(result): path for result, path in results}
        self.comparisons = group_results([result for result, _ in results])
        self.retrieved = Retrieved()
        self._queries: dict[tuple[Index, int], Queries | None] = {}
        self._ranks: dict[tuple[int, str], list[tuple[str, Floats]]] = {}
        self._false: dict[tuple[Index, int], FalseCaptions] = {}
        self._plots: dict[int, list[tuple[Plot, str]]] = {}

    def heading(self, number: int) -> str:
        """Return what a comparison measured."""
        return heading(self.comparisons[number].settings)

    def queries(self, index: Index, number: int) -> Queries | None:
        """Return the queries of a comparison; None where it measured other data than the index holds."""
        key = (index, number)
        if key not in self._queries:
            self._queries[key] = self._matching_queries(index, number)
        return self._queries[key]

    def _matching_queries(self, index: Index, number: int) -> Queries | None:
        comparison = self.comparisons[number]
        mask = index.columns.mask("split", [comparison.settings.split])
        if comparison.settings.domain is not None:
            mask &= index.columns.mask("domain", [comparison.settings.domain])
        rows = np.flatnonzero(mask).astype(np.int32)  # in the order of the dataset
        images = numbers(comparison.rows[0].results[0].queries.image_of_row)
        if not len(rows) or len(images) != len(rows):
            return None
        if rows_digest(index.texts(rows)) != comparison.settings.data.fingerprint:
            return None
        first = rows[np.unique(images, return_index=True)[1]]
        return Queries(rows, images.astype(np.int32), first)

    def plots(self, number: int) -> list[tuple[Plot, str]]:
        """Return the plots of a comparison and their SVG, which are drawn once."""
        from benchmark.reporting.plots import inline_svg, plots_of

        if number not in self._plots:
            plots = plots_of(self.comparisons[number])
            self._plots[number] = [(plot, inline_svg(plot, legend=False)) for plot in plots]
        return self._plots[number]

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
            if queries is None:
                continue
            for position in np.flatnonzero(queries.rows == row)[:1]:
                image = queries.image_of_row[position]
                both = zip(*(self.ranks(number, each) for each in DIRECTIONS), strict=True)
                for (label, by_image), (_, by_row) in both:
                    found.append((label, f"{by_image[image]:g}", f"{by_row[position]:g}"))
        return found

    def false_captions(self, index: Index, number: int) -> FalseCaptions | None:
        """Return the false captions of a comparison; None where it measured other data than the index holds."""
        key, queries = (index, number), self.queries(index, number)
        if queries is not None and key not in self._false:
            kept = {k: v for k, v in self._false.items() if k[0] is index}  # not of a replaced one
            self._false = kept
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
        negatives = [(_kind_of_negative(each), n) for n, each in enumerate(record["negatives"])]
        pairs = [
            (_PAIR.format(each["kind"]), partners.get(each["id"], -1))
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
        """Return the paired tests of `fdrd compare`; nothing where there is nothing to compare."""
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
                result = row.results[0]
                untrained = result.fit is None and result.settings.method == "zero_shot"
                if untrained or self._file[id(result)].with_suffix(".safetensors").is_file():
                    found.setdefault(row.label, f"{number}.{place}")
        return [(key, label) for label, key in found.items()]

    def method(self, key: str) -> Method:
        """Return the method of a key of `searchable`, loaded."""
        number, place = map(int, key.split("."))
        result = self.comparisons[number].rows[place].results[0]
        return method_of(result, self._file[id(result)])


@lru_cache(16)
def _significance(paths: tuple[Path, ...], against: str | None) -> list[PairedComparison]:
    try:
        return compare(paths, against).comparisons
    except FdrdError:
        if against is None:
            return []
        raise


@dataclass(frozen=True)
class FalseCaptions:
    """The false captions of the rows of a comparison. One fools a method if the true caption does not score higher.

    Attributes:
        methods: label and number of seeds of the M methods.
        rows: (F,) row of the index that has each false caption.
        positions: (F,) its position among the hard negatives of the row, or the row of the partner.
        kinds: kind of each, e.g. `category`, `attribute: color` or `natural category pair`.
        fooled: (M, F) share of the seeds under which it fools a method; NaN where the result does not say so.
    """

    methods: list[tuple[str, int]]
    rows: Indices
    positions: Indices
    kinds: list[str]
    fooled: npt.NDArray[np.float32]

    @property
    def unknown(self) -> list[str]:
        """The methods whose results do not say anything."""
        each = zip(self.methods, self.fooled, strict=True)
        return [label for (label, _), shares in each if np.isnan(shares).all()]

    def counts(self) -> dict[str, int]:
        """Return by kind how many fool any method; kinds without any are left out."""
        found = Counter(self.kinds[n] for n in self.most_fooling().tolist())
        return dict(sorted(found.items()))

    def most_fooling(self, kind: str = "", method: int | None = None) -> Indices:
        """Return the numbers of those that fool a method, or any; those that fool most methods come first."""
        sums = np.nansum(self.fooled, axis=0)
        fooling = (sums if method is None else self.fooled[method]) > 0
        if kind:
            fooling &= np.array([each == kind for each in self.kinds], bool)
        found = np.flatnonzero(fooling).astype(np.int32)
        return found[np.argsort(-sums[found], kind="stable")]

    def fools(self, nth: int) -> list[str]:
        """Return the methods that one fools, with the number of seeds where it fools only some."""
        return [
            label if share == 1 else f"{label} ({round(share * seeds)} of {seeds} seeds)"
            for (label, seeds), share in zip(self.methods, self.fooled[:, nth], strict=True)
            if share > 0
        ]

    def of_row(self, row: int) -> dict[tuple[str, int], list[str]]:
        """Return the methods that each false caption of a row fools, by kind and position."""
        found = np.flatnonzero(self.rows == row).tolist()
        return {(self.kinds[n], int(self.positions[n])): self.fools(n) for n in found}


def _kind_of_negative(negative: Mapping[str, Any]) -> str:
    """Return the kind of a hard negative, as results name it.

    >>> _kind_of_negative({"kind": "attribute", "attribute_type": "color"})
    'attribute: color'
    """
    type_ = negative["attribute_type"]
    return f"{negative['kind']}: {type_}" if type_ else str(negative["kind"])


def false_caption(index: Index, false: FalseCaptions, nth: int, record: Mapping[str, Any]) -> str:
    """Return the text of a false caption of a record."""
    position = int(false.positions[nth])
    if false.kinds[nth].startswith("natural"):
        return str(index.records([position], spans=False)[0]["caption"])
    return str(record["negatives"][position]["caption"])


def false_captions(index: Index, rows: Indices, methods: Sequence[Row]) -> FalseCaptions:
    """Return the false captions of rows of the index, which the results of methods measured in this order."""
    counts = index.columns.codes["negatives"][rows]
    which = np.concatenate([np.arange(count) for count in [*counts.tolist(), 0]])
    kinds = [
        _kind_of_negative(each)
        for record in index.stream(rows[counts > 0])
        for each in record["negatives"]
    ]
    fooled = _fooled(methods, lambda result: _digits(result, counts), len(which))
    parts = [(np.repeat(rows, counts), which, fooled)]
    results = [result for row in methods for result in row.results]
    for kind in KINDS:
        found = {each.natural_pairs[kind].rows for each in results if kind in each.natural_pairs}
        if len(found) == 1:  # results of one dataset; others are not its own
            pairs = rows[numbers(found.pop())].reshape(-1, 2)
            fooled = _fooled(methods, partial(_pair_digits, kind), pairs.size)
            parts.append((pairs.ravel(), pairs[:, ::-1].ravel(), fooled))
            kinds += [_PAIR.format(kind)] * pairs.size
    of_rows, positions, shares = zip(*parts, strict=True)
    return FalseCaptions(
        [(row.label, len(row.results)) for row in methods],
        np.concatenate(of_rows).astype(np.int32),
        np.concatenate(positions).astype(np.int32),
        kinds,
        np.concatenate(shares, axis=1),
    )


def _digits(result: BenchResult, counts: Indices) -> str:
    """Return a digit for each negative, nothing unless there are as many as the dataset has."""
    words = result.negative_wins.replace("-", "").split(" ")
    return "".join(words) if list(map(len, words)) == counts.tolist() else ""


def _pair_digits(kind: str, result: BenchResult) -> str:
    return result.natural_pairs[kind].caption_of_row if kind in result.natural_pairs else ""


def _fooled(
    methods: Sequence[Row], wins: Callable[[BenchResult], str], size: int
) -> npt.NDArray[np.float32]:
    """Return (M, size) shares of the seeds; NaN where a result has other than `size` digits."""
    found = np.full((len(methods), size), np.nan, np.float32)
    for shares, row in zip(found, methods, strict=True):
        texts = [wins(result) for result in row.results]
        if size and all(len(text) == size for text in texts):
            shares[:] = 1 - np.mean([from_digits(text) for text in texts], axis=0)
    return found
