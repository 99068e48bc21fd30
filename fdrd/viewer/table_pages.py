"""The selection as a table, with a histogram of each number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from fdrd.viewer.context import Context, state_of
from fdrd.viewer.facets import ORDERS, PAGE, Indices

_NUMBERS = {
    "words": "Words of the caption",
    "width": "Image width",
    "height": "Image height",
    "negatives": "Hard negatives",
}
_BINS = 24


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often a number takes values: one bar from `low` to `high`, its count, and its height from 0 to 1."""

    title: str
    low: int
    high: int
    median: float
    bars: list[tuple[int, int, int, float]]


def histogram(title: str, values: Indices) -> Histogram:
    """Return the histogram of whole numbers, in bars of equal whole width.

    >>> histogram("n", np.array([1, 1, 2, 9], np.int32)).bars[:2]
    [(1, 1, 2, 1.0), (2, 2, 1, 0.5)]
    """
    low, high = int(values.min()), int(values.max())
    step = -(-(high - low + 1) // _BINS)
    counts = np.bincount((values.astype(np.int64) - low) // step)
    bars = [
        (low + n * step, low + (n + 1) * step - 1, count, count / int(counts.max()))
        for n, count in enumerate(counts.tolist())
    ]
    return Histogram(title, low, high, float(np.median(values)), bars)


class TablePages:
    """Handler of the table."""

    def __init__(self, context: Context):
        self.context = context

    def page(self, request: Request) -> Response:
        """Show the records that the URL selects as rows."""
        index, state = self.context.library.current(), state_of(request)
        rows = self.context.selection(index, state).rows
        start = (state.page - 1) * PAGE
        records = index.records(rows[start : start + PAGE].tolist())
        charts = [
            histogram(title, index.columns.codes[name][rows])
            for name, title in _NUMBERS.items()
            if len(rows)
        ]
        extra = list(dict.fromkeys(name for record in records for name in record["extra"]))
        return self.context.page(
            request, "table.html", state=state, records=records, extra=extra, total=len(rows), orders=ORDERS,
            pages=max(1, -(-len(rows) // PAGE)), charts=charts,
        )  # fmt: skip
