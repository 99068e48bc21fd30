"""Results for the viewer: comparisons of runs, the record of each query, its top ten, and false captions that fool.

A false caption of an image is a hard negative, or the caption of a natural pair.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmark.rank_metrics import DIRECTIONS, Floats
from benchmark.registry import Method
from benchmark.reporting.comparison import PairedComparison, Row, group_results, heading
from benchmark.result import BenchResult, from_digits, numbers, read_result, result_files
from benchmark.results import compare
from fdrd.dataset import RetrievalDataset, load_view, rows_digest
from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_write
from fdrd.files.paths import cache_folder
from fdrd.progress import Progress
from fdrd.record import KINDS
from fdrd.viewer.facets import Indices
from fdrd.viewer.index import Index
from fdrd.viewer.meaning import Background, WaitingError

if TYPE_CHECKING:
    import torch

    from benchmark.reporting.plots import Plot


TEN = 10
_QUERIES = 256  # that are scored at once
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
        self._paths = paths
        results = [(read_result(path), path) for path in result_files(paths)]
        self._file = {id(result): path for result, path in results}
        self.comparisons = group_results([result for result, _ in results])
        self._tops = Background[Top]()
        kept = lru_cache(2 * len(self.comparisons))  # of this index, and of the one before it
        self.queries, self.false_captions = kept(self._queries), kept(self._false_captions)
        self.ranks, self.plots = kept(self._ranks), kept(self._plots)
        self.significance = lru_cache(16)(self._significance)

    def heading(self, number: int) -> str:
        """Return what a comparison measured."""
        return heading(self.comparisons[number].settings)

    def _queries(self, index: Index, number: int) -> Queries | None:
        """Return the queries of a comparison; None where it measured other data than the index holds."""
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

    def _plots(self, number: int) -> list[tuple[Plot, str]]:
        """Return the plots of a comparison and their SVG."""
        from benchmark.reporting.plots import inline_svg, plots_of

        plots = plots_of(self.comparisons[number])
        return [(plot, inline_svg(plot, legend=False)) for plot in plots]

    def _ranks(self, number: int, direction: str) -> list[tuple[str, Floats]]:
        """Return the rank of every query under each method of a comparison."""
        return [(row.label, row.mean_ranks(direction)) for row in self.comparisons[number].rows]

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

    def _false_captions(self, index: Index, number: int) -> FalseCaptions | None:
        """Return the false captions of a comparison; None where it measured other data than the index holds."""
        queries, rows = self.queries(index, number), self.comparisons[number].rows
        return None if queries is None else false_captions(index, queries.rows, rows)

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

    def _significance(self, against: str | None) -> list[PairedComparison]:
        """Return the paired tests of `fdrd compare`; nothing where there is nothing to compare."""
        try:
            return compare(self._paths, against).comparisons
        except FdrdError:
            if against is None:
                return []
            raise

    def top(self, index: Index, number: int, place: int) -> Top | FdrdError | None:
        """Return the same as `known_top`; begin to compute it where nothing is known, or computing failed."""
        if not isinstance(self.known_top(number, place), Top | WaitingError):
            result = self.comparisons[number].rows[place].results[0]
            key, file = result.settings.identity(), self._file[id(result)]
            self._tops.found.pop(key, None)
            with suppress(FdrdError):
                self._tops.get(key, partial(_top, index.folder, result, file))
        return self.known_top(number, place)

    def known_top(self, number: int, place: int) -> Top | FdrdError | None:
        """Return what a method retrieved, a `WaitingError` while that is computed, or why computing it failed."""
        key = self.comparisons[number].rows[place].results[0].settings.identity()
        if key not in self._tops.found and (top := _read(_path(key))):
            self._tops.found[key] = top
        return self._tops.found.get(key)

    def searchable(self) -> dict[str, tuple[str, Callable[[], Method]]]:
        """Return label and loader of the methods that can search, by key."""
        found: dict[str, tuple[str, Callable[[], Method]]] = {}
        for number, comparison in enumerate(self.comparisons):
            for place, row in enumerate(comparison.rows):
                result = row.results[0]
                file = self._file[id(result)]
                untrained = result.fit is None and result.settings.method == "zero_shot"
                known = row.label in (label for label, _ in found.values())
                if not known and (untrained or file.with_suffix(".safetensors").is_file()):
                    found[f"{number}.{place}"] = row.label, partial(_method_of, result, file)
        return found


class Top(NamedTuple):
    """The top ten of a method."""

    captions: npt.NDArray[np.int64]
    """(I, 10) row, among those that were measured, of each caption that an image finds; -1 for none"""
    images: npt.NDArray[np.int64]
    """(N, 10) image number of each image that a row's caption finds"""


def _top(folder: Path, result: BenchResult, file: Path, progress: Progress) -> Top:
    settings = result.settings
    dataset = load_view(folder, settings.split, settings.domain)
    if dataset.fingerprint != settings.data.fingerprint:
        raise FdrdError("the result was measured on other data")
    found = top_ten(_method_of(result, file), dataset, settings.gallery == "joint", progress)
    # Without the cache, e.g. in a home that cannot be written, it is kept in memory only.
    with suppress(OSError), atomic_write(_path(settings.identity())) as kept:
        np.savez(kept, **found._asdict())
    return found


def _path(key: str) -> Path:
    return cache_folder() / "viewer" / "top" / f"{key[:32]}.npz"


def _read(path: Path) -> Top | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            return Top(file["captions"], file["images"])
    except (OSError, ValueError, KeyError):
        return None


def _method_of(result: BenchResult, file: Path) -> Method:
    """Return the method of a result, from the checkpoint next to its file where it was trained."""
    from benchmark.checkpoint import load_method, untrained_method
    from benchmark.models.loading import cached_backbone

    measured = result.settings.backbone
    backbone = cached_backbone(measured.name)
    if backbone.fingerprint != measured.fingerprint:
        raise FdrdError(f"the backbone {measured.name} is not the one that was measured")
    weights = file.with_suffix(".safetensors")
    if weights.is_file():
        return load_method(weights, backbone=backbone)
    return untrained_method(result.settings.method, backbone)


def top_ten(method: Method, dataset: RetrievalDataset, joint: bool, progress: Progress) -> Top:
    """Return the top ten of every query."""
    import torch

    from benchmark.evaluation.encoding import encode_split

    row_of_caption = np.unique(dataset.pairs[:, 1], return_index=True)[1]
    image_domain = torch.as_tensor(dataset.image_domain)
    text_domain = image_domain[torch.as_tensor(dataset.pairs[row_of_caption, 0])]

    def found_by(
        queries: torch.Tensor, items: torch.Tensor, scores_of: Callable[[slice], torch.Tensor]
    ) -> npt.NDArray[np.int64]:
        """Return (Q, 10) items that queries find; both are given by their domains."""
        blocks = []
        for start in range(0, len(queries), _QUERIES):
            some = slice(start, start + _QUERIES)
            scores = scores_of(some).float().cpu()
            if not joint:
                scores[queries[some][:, None] != items] = -torch.inf
            best = scores.topk(min(TEN, len(items)))
            blocks.append(best.indices.masked_fill(best.values == -torch.inf, -1))
        return torch.cat(blocks).numpy()

    with torch.no_grad():
        images, texts = encode_split(method, dataset, progress)
        captions = found_by(
            image_domain, text_domain, lambda some: method.similarity(images[some], texts)
        )
        found_rows = np.where(captions >= 0, row_of_caption[captions], -1)
        found_images = found_by(
            text_domain, image_domain, lambda some: method.similarity(images, texts[some]).T
        )
        return Top(found_rows, found_images[dataset.pairs[:, 1]])


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
