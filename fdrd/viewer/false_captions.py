"""Which false captions of an image, hard negatives and captions of natural pairs, fool which methods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmark.reporting.comparison import Row
from benchmark.result import BenchResult, from_digits, numbers
from fdrd.record import KINDS
from fdrd.viewer.facets import Indices
from fdrd.viewer.index import Index


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
        return [
            label
            for (label, _), shares in zip(self.methods, self.fooled, strict=True)
            if np.isnan(shares).all()
        ]

    def counts(self) -> dict[str, int]:
        """Return by kind how many fool any method; kinds without any are left out."""
        found = Counter(self.kinds[number] for number in self.most_fooling().tolist())
        return dict(sorted(found.items()))

    def most_fooling(self, kind: str = "", method: int | None = None) -> Indices:
        """Return the numbers of those that fool a method, or any; those that fool most methods come first."""
        sums = np.nansum(self.fooled, axis=0)
        fooling = (sums if method is None else self.fooled[method]) > 0
        if kind:
            fooling &= np.array([each == kind for each in self.kinds], bool)
        found = np.flatnonzero(fooling).astype(np.int32)
        return found[np.argsort(-sums[found], kind="stable")]

    def fools(self, number: int) -> list[str]:
        """Return the methods that one fools, with the number of seeds where it fools only some."""
        return [
            label if share == 1 else f"{label} ({round(share * seeds)} of {seeds} seeds)"
            for (label, seeds), share in zip(self.methods, self.fooled[:, number], strict=True)
            if share > 0
        ]

    def of_row(self, row: int) -> dict[tuple[str, int], list[str]]:
        """Return the methods that each false caption of a row fools, by kind and position."""
        at = np.flatnonzero(self.rows == row).tolist()
        return {(self.kinds[n], int(self.positions[n])): self.fools(n) for n in at}


def kind_of_negative(negative: Mapping[str, Any]) -> str:
    """Return the kind of a hard negative, as results name it.

    >>> kind_of_negative({"kind": "attribute", "attribute_type": "color"})
    'attribute: color'
    """
    type_ = negative["attribute_type"]
    return f"{negative['kind']}: {type_}" if type_ else str(negative["kind"])


def kind_of_pair(kind: str) -> str:
    """Return the kind of the caption of a partner."""
    return f"natural {kind} pair"


def false_caption(
    index: Index, false: FalseCaptions, number: int, record: Mapping[str, Any]
) -> str:
    """Return the text of a false caption of a record."""
    position = int(false.positions[number])
    if false.kinds[number].startswith("natural"):
        return str(index.records([position], spans=False)[0]["caption"])
    return str(record["negatives"][position]["caption"])


def false_captions(index: Index, rows: Indices, methods: Sequence[Row]) -> FalseCaptions:
    """Return the false captions of rows of the index, which the results of methods measured in this order."""
    counts = index.columns.codes["negatives"][rows]
    which = np.concatenate([np.arange(count) for count in [*counts.tolist(), 0]])
    kinds = [
        kind_of_negative(each)
        for record in index.stream(rows[counts > 0])
        for each in record["negatives"]
    ]
    parts = [
        (np.repeat(rows, counts), which, _fooled(methods, lambda r: _digits(r, counts), len(which)))
    ]
    for kind in KINDS:
        found = {
            r.natural_pairs[kind].rows
            for row in methods
            for r in row.results
            if kind in r.natural_pairs
        }
        if len(found) == 1:  # results of one dataset; others are not its own
            (text,) = found
            pairs = rows[numbers(text)].reshape(-1, 2)
            digits = _fooled(methods, _caption_of_row(kind), pairs.size)
            parts.append((pairs.ravel(), pairs[:, ::-1].ravel(), digits))
            kinds += [kind_of_pair(kind)] * pairs.size
    of_rows, positions, fooled = zip(*parts, strict=True)
    return FalseCaptions(
        [(row.label, len(row.results)) for row in methods],
        np.concatenate(of_rows).astype(np.int32),
        np.concatenate(positions).astype(np.int32),
        kinds,
        np.concatenate(fooled, axis=1),
    )


def _digits(result: BenchResult, counts: Indices) -> str:
    """Return a digit for each negative, nothing unless there are as many as the dataset has."""
    words = result.negative_wins.replace("-", "").split(" ")
    return "".join(words) if list(map(len, words)) == counts.tolist() else ""


def _caption_of_row(kind: str) -> Callable[[BenchResult], str]:
    return lambda result: (
        result.natural_pairs[kind].caption_of_row if kind in result.natural_pairs else ""
    )


def _fooled(
    methods: Sequence[Row], wins: Callable[[BenchResult], str], size: int
) -> npt.NDArray[np.float32]:
    """Return (M, size) shares of the seeds; NaN where a result has other than `size` digits."""
    found = np.full((len(methods), size), np.nan, np.float32)
    for number, row in enumerate(methods):
        texts = [wins(result) for result in row.results]
        if size and all(len(text) == size for text in texts):
            found[number] = 1 - np.mean([from_digits(text) for text in texts], axis=0)
    return found
