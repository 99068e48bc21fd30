"""Pages about results: methods side by side, plots, the query explorer, and what a query retrieves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from fdrd.errors import FdrdError
from fdrd.viewer.context import Context, page_of
from fdrd.viewer.facets import Indices
from fdrd.viewer.index import Index

if TYPE_CHECKING:
    from benchmark.rank_metrics import Interval
    from benchmark.reporting.comparison import Row
    from benchmark.reporting.plots import Plot
    from benchmark.retrieval_metrics import Column

_MEDIA_TYPES = {"svg": "image/svg+xml", "pdf": "application/pdf", "png": "image/png"}
_MOST_CATEGORIES = 40
_CONFUSIONS = 20
_SHOWN = {"image_to_text": "Image to text", "text_to_image": "Text to image"}
_SHOWS = {
    "a-not-b": "A finds it, B does not",
    "b-not-a": "B finds it, A does not",
    "neither": "Neither finds it",
    "both": "Both find it",
    "all": "All queries",
}


class ResultPages:
    """Handlers of the pages about results."""

    def __init__(self, context: Context):
        self.context = context
        self._drawn: dict[int, list[tuple[Plot, str]]] = {}

    def results(self, request: Request) -> Response:
        """Show the methods of a comparison as a table, with plots and paired tests."""
        runs = self.context.runs
        if runs is None:
            return self.context.page(request, "no_results.html")
        from benchmark.reporting.comparison import verdict
        from benchmark.reporting.tables import pairs_parts
        from benchmark.retrieval_metrics import main_columns

        index, number = self.context.library.current(), self._number(request)
        comparison, columns = runs.comparisons[number], main_columns()
        order = _integer(request, "sort", 0, len(columns))
        rows = [
            (place, row, [_cell(row, column) for column in columns])
            for place, row in enumerate(comparison.rows)
        ]
        if order:
            rows.sort(key=lambda row: -cell[1] if (cell := row[2][order - 1]) else math.inf)
        against = request.query_params.get("against") or None
        problem = ""
        try:
            versus = [
                v for v in runs.significance(against) if v.settings.data == comparison.settings.data
            ]
        except FdrdError as error:
            versus, problem = [], str(error)
        categories = runs.breakdown(index, number, "category")
        return self.context.page(
            request, "results.html", number=number, headings=[runs.heading(n) for n in range(len(runs.comparisons))],
            columns=columns, rows=rows, order=order, plots=self._plots(number),
            versus=versus, verdict=verdict, against=against or "", problem=problem,
            types=runs.breakdown(index, number, "type"), categories=categories[:_MOST_CATEGORIES],
            pairs=pairs_parts(comparison), more_categories=max(0, len(categories) - _MOST_CATEGORIES),
            labels=[row.label for row in comparison.rows], matches=runs.queries(index, number) is not None,
            confusions=[
                (row.label, place, runs.known_top(number, place), _confusions(index, runs, number, place))
                for place, row in enumerate(comparison.rows)
            ],
        )  # fmt: skip

    def plot(self, request: Request) -> Response:
        """Give one plot as a file in one of `_MEDIA_TYPES`."""
        name, form = request.query_params.get("name", ""), request.path_params["form"]
        if self.context.runs is not None and form in _MEDIA_TYPES:
            from benchmark.reporting.plots import plot_bytes

            for plot, _ in self._plots(self._number(request)):
                if plot.name == name:
                    headers = {"Content-Disposition": f'attachment; filename="{name}.{form}"'}
                    return Response(
                        plot_bytes(plot, form), media_type=_MEDIA_TYPES[form], headers=headers
                    )
        return Response("no such plot", 404)

    def _plots(self, number: int) -> list[tuple[Plot, str]]:
        """Return the plots of a comparison and their SVG, which are drawn once."""
        from benchmark.reporting.plots import inline_svg, plots_of

        if number not in self._drawn:
            assert self.context.runs is not None
            plots = plots_of(self.context.runs.comparisons[number])
            self._drawn[number] = [(plot, inline_svg(plot, legend=False)) for plot in plots]
        return self._drawn[number]

    def queries(self, request: Request) -> Response:
        """List queries by what two methods make of them."""
        runs = self.context.runs
        if runs is None:
            return self.context.page(request, "no_results.html")
        index, number = self.context.library.current(), self._number(request)
        direction = _direction(request)
        found, ranks = runs.queries(index, number), runs.ranks(number, direction)
        a, b = (
            _integer(request, "a", len(ranks) - 1, len(ranks) - 1),
            _integer(request, "b", 0, len(ranks) - 1),
        )
        k = _integer(request, "k", 1, 10**6) or 1
        show = request.query_params.get("show", "a-not-b")
        show = show if show in _SHOWS else "a-not-b"
        chosen = _chosen(ranks[a][1], ranks[b][1], k, show)
        page, pages, numbers = page_of(request, chosen.tolist())
        records = index.records([found.row(direction, n) for n in numbers]) if found else []
        return self.context.page(
            request, "queries.html", number=number, heading=runs.heading(number), direction=direction,
            directions=_SHOWN, labels=[label for label, _ in ranks], a=a, b=b, k=k, show=show, shows=_SHOWS,
            total=len(chosen), page=page, pages=pages, known=found is not None,
            queries=[(n, record, ranks[a][1][n], ranks[b][1][n]) for n, record in zip(numbers, records, strict=False)],
        )  # fmt: skip

    def query(self, request: Request) -> Response:
        """Show one query, and what each method retrieves for it."""
        runs = self.context.runs
        if runs is None:
            return self.context.page(request, "no_results.html")
        index, number = self.context.library.current(), self._number(request)
        direction = _direction(request)
        found, ranks = runs.queries(index, number), runs.ranks(number, direction)
        n = _integer(request, "n", 0, len(ranks[0][1]) - 1)
        if found is None:
            return self.context.page(request, "missing.html", 404)
        record = index.records([found.row(direction, n)])[0]
        methods = []
        for place, (label, of) in enumerate(ranks):
            top = runs.known_top(number, place)
            table = top.captions if direction == "image_to_text" else top.images
            hits = [] if table is None else _hits(index, found, direction, table[n].tolist())
            methods.append((place, label, of[n], top, hits))
        return self.context.page(
            request, "query.html", number=number, heading=runs.heading(number), direction=direction,
            directions=_SHOWN, n=n, record=record, methods=methods,
        )  # fmt: skip

    def negatives(self, request: Request) -> Response:
        """List the false captions that fool methods, those that fool most methods first."""
        runs = self.context.runs
        if runs is None:
            return self.context.page(request, "no_results.html")
        from fdrd.viewer.false_captions import false_caption

        index, number = self.context.library.current(), self._number(request)
        found = runs.false_captions(index, number)
        values: dict[str, Any] = {}
        if found is not None:
            counts, kind = found.counts(), request.query_params.get("kind", "")
            kind = kind if kind in counts else ""
            method = _integer(request, "m", 0, len(found.methods))  # counted from 1
            chosen = found.most_fooling(kind, method - 1 if method else None)
            page, pages, shown = page_of(request, chosen.tolist())
            items = [
                (record, false_caption(index, found, n, record), found.kinds[n], found.fools(n))
                for n, record in zip(shown, index.records(found.rows[shown].tolist()), strict=True)
            ]
            values = {
                "counts": counts, "kind": kind, "method": method, "total": len(chosen), "page": page,
                "pages": pages, "items": items,
            }  # fmt: skip
        return self.context.page(
            request, "negatives.html", number=number, heading=runs.heading(number), found=found, **values
        )  # fmt: skip

    def top(self, request: Request) -> Response:
        """Begin to compute what a method retrieves, or all of them, or say how far that is."""
        runs = self.context.runs
        if runs is None:
            return self.context.page(request, "no_results.html")
        index, number = self.context.library.current(), self._number(request)
        if request.query_params.get("all"):
            for place in range(len(runs.comparisons[number].rows)):
                runs.top(index, number, place)
            return Response("", headers={"HX-Refresh": "true"})  # each shows how far it is
        place = _integer(request, "m", 0, len(runs.comparisons[number].rows) - 1)
        top = runs.top(index, number, place)
        answer = self.context.page(request, "_top.html", number=number, place=place, top=top)
        if top.captions is not None:
            answer.headers["HX-Refresh"] = "true"  # the page that asked shows it
        return answer

    def _number(self, request: Request) -> int:
        assert self.context.runs is not None
        return _integer(request, "c", 0, len(self.context.runs.comparisons) - 1)


def _cell(row: Row, column: Column) -> tuple[str, float, Interval | None] | None:
    """Return text and sort key of the mean of a column over seeds, and its interval if there is one seed."""
    values = row.values(column)
    if len(values) < len(row.results):
        return None
    interval = column.interval(row.results[0].metrics) if len(values) == 1 else None
    mean = fmean(values)
    return column.text(mean), mean if column.better == "higher" else -mean, interval


def _chosen(a: Any, b: Any, k: int, show: str) -> Indices:
    """Return the queries of a choice, those on which two methods differ most first."""
    tests: dict[str, Callable[[], Any]] = {
        "a-not-b": lambda: (a <= k) & (b > k),
        "b-not-a": lambda: (b <= k) & (a > k),
        "neither": lambda: (a > k) & (b > k),
        "both": lambda: (a <= k) & (b <= k),
        "all": lambda: np.ones(len(a), bool),
    }
    found = np.flatnonzero(tests[show]()).astype(np.int32)
    return found[np.argsort(-np.abs(1 / a[found] - 1 / b[found]), kind="stable")]


def _hits(index: Index, found: Any, direction: str, numbers: list[int]) -> list[dict[str, Any]]:
    rows = found.rows if direction == "image_to_text" else found.first
    return index.records([int(rows[number]) for number in numbers if number >= 0])


def _confusions(index: Index, runs: Any, number: int, place: int) -> list[tuple[str, str, int]]:
    """Return the most frequent pairs of the category of a caption and of another one that is retrieved first."""
    top, found = runs.known_top(number, place), runs.queries(index, number)
    if top.images is None or found is None:
        return []
    category, labels = index.columns.codes["category"], index.columns.labels["category"]
    own, first = category[found.rows], category[found.first[top.images[:, 0]]]
    wrong = own != first
    counts = Counter(zip(own[wrong].tolist(), first[wrong].tolist(), strict=True))
    return [(labels[a], labels[b], count) for (a, b), count in counts.most_common(_CONFUSIONS)]


def _direction(request: Request) -> str:
    direction = request.query_params.get("direction", "")
    return direction if direction in _SHOWN else "text_to_image"


def _integer(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name, "")
    return (
        min(int(text), most) if text.isascii() and text.isdecimal() and len(text) < 10 else default
    )
