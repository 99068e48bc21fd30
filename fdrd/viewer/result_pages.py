"""Pages about results: methods side by side, plots, queries and what they retrieve, and what fools methods."""

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
from fdrd.viewer.context import Context
from fdrd.viewer.facets import Indices
from fdrd.viewer.index import Index
from fdrd.viewer.meaning import WaitingError
from fdrd.viewer.pages import Values, choice_of, integer_of, listed, page

if TYPE_CHECKING:
    from benchmark.rank_metrics import Column, Interval
    from benchmark.reporting.comparison import Row
    from fdrd.viewer.results import Queries, Runs, Top


_MEDIA_TYPES = {"svg": "image/svg+xml", "pdf": "application/pdf", "png": "image/png"}
_CONFUSIONS = 20
_DIRECTIONS = {"image_to_text": "Image to text", "text_to_image": "Text to image"}
_SHOWS = {
    "a-not-b": "A finds it, B does not",
    "b-not-a": "B finds it, A does not",
    "neither": "Neither finds it",
    "both": "Both find it",
    "all": "All queries",
}

ResultPage = Callable[[Context, Request, "Runs", int], Response]


def result_page(path: str) -> Callable[[ResultPage], ResultPage]:
    """Register a page about the comparison of runs that the URL names."""

    def register(handler: ResultPage) -> ResultPage:
        @page(path)
        def show(context: Context, request: Request) -> Response:
            if context.runs is None:
                return context.page(request, "no_results.html")
            last = len(context.runs.comparisons) - 1
            return handler(context, request, context.runs, integer_of(request, "c", 0, last))

        return handler

    return register


@result_page("/results")
def results(context: Context, request: Request, runs: Runs, number: int) -> Response:
    """Show the methods of a comparison as a table, with plots and paired tests."""
    from benchmark.rank_metrics import main_columns
    from benchmark.reporting.comparison import verdict
    from benchmark.reporting.tables import pairs_parts

    index, comparison, columns = context.library.current(), runs.comparisons[number], main_columns()
    order = integer_of(request, "sort", 0, len(columns))
    rows = [
        (place, row, [_cell(row, column) for column in columns])
        for place, row in enumerate(comparison.rows)
    ]
    if order:
        rows.sort(key=lambda row: -cell[1] if (cell := row[2][order - 1]) else math.inf)
    against, problem = request.query_params.get("against", ""), ""
    try:
        versus = runs.significance(against or None)
    except FdrdError as error:
        versus, problem = [], str(error)
    confusions = [
        (row.label, place, runs.known_top(number, place), _confusions(index, runs, number, place))
        for place, row in enumerate(comparison.rows)
    ]
    versus = [each for each in versus if each.settings.data == comparison.settings.data]
    values: Values = {"index": index, "runs": runs, "number": number, "columns": columns}
    values |= {"comparison": comparison, "pairs": pairs_parts(comparison), "rows": rows}
    values |= {"versus": versus, "verdict": verdict, "against": against, "problem": problem}
    return context.page(request, "results.html", order=order, confusions=confusions, **values)


def _cell(row: Row, column: Column) -> tuple[str, float, Interval | None] | None:
    """Return text and sort key of the mean of a column over seeds, and its interval if there is one seed."""
    values = row.values(column)
    if len(values) < len(row.results):
        return None
    interval = column.interval(row.results[0].metrics) if len(values) == 1 else None
    mean = fmean(values)
    return column.text(mean), mean if column.better == "higher" else -mean, interval


def _confusions(index: Index, runs: Runs, number: int, place: int) -> list[tuple[str, str, int]]:
    """Return the most frequent pairs of the category of a caption and of another one that is retrieved first."""
    top, found = runs.known_top(number, place), runs.queries(index, number)
    if not isinstance(top, tuple) or found is None:
        return []
    category, labels = index.columns.codes["category"], index.columns.labels["category"]
    right, first = category[found.rows], category[found.first[top.images[:, 0]]]
    wrong = right != first
    counts = Counter(zip(right[wrong].tolist(), first[wrong].tolist(), strict=True))
    return [(labels[a], labels[b], count) for (a, b), count in counts.most_common(_CONFUSIONS)]


@result_page("/results/plot.{form}")
def plot(context: Context, request: Request, runs: Runs, number: int) -> Response:
    """Give one plot as a file in one of `_MEDIA_TYPES`."""
    from benchmark.reporting.plots import plot_bytes

    name, form = request.query_params.get("name", ""), request.path_params["form"]
    for drawn, _ in runs.plots(number) if form in _MEDIA_TYPES else ():
        if drawn.name == name:
            headers = {"Content-Disposition": f'attachment; filename="{name}.{form}"'}
            data = plot_bytes(drawn, form)
            return Response(data, media_type=_MEDIA_TYPES[form], headers=headers)
    return Response("no such plot", 404)


@result_page("/results/queries")
def queries(context: Context, request: Request, runs: Runs, number: int) -> Response:
    """List queries by what two methods make of them."""
    index, direction = context.library.current(), _direction(request)
    found, ranks = runs.queries(index, number), runs.ranks(number, direction)
    last = len(ranks) - 1
    a, b = integer_of(request, "a", last, last), integer_of(request, "b", 0, last)
    k = integer_of(request, "k", 1, 10**6) or 1
    show = choice_of(request, "show", _SHOWS, "a-not-b")
    numbers, paging = listed(request, _chosen(ranks[a][1], ranks[b][1], k, show).tolist())
    records = index.records([found.row(direction, n) for n in numbers]) if found else []
    values: Values = {"number": number, "heading": runs.heading(number), "a": a, "b": b, "k": k}
    values |= {"direction": direction, "directions": _DIRECTIONS, "show": show, "shows": _SHOWS}
    values |= {"known": found is not None, "labels": [label for label, _ in ranks]}
    shown = zip(numbers, records, strict=False)
    rows = [(n, record, ranks[a][1][n], ranks[b][1][n]) for n, record in shown]
    return context.page(request, "queries.html", queries=rows, **values, **paging)


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


@result_page("/results/query")
def query(context: Context, request: Request, runs: Runs, number: int) -> Response:
    """Show one query, and what each method retrieves for it."""
    index, direction = context.library.current(), _direction(request)
    found, ranks = runs.queries(index, number), runs.ranks(number, direction)
    if found is None:
        return context.page(request, "missing.html", 404)
    n = integer_of(request, "n", 0, len(ranks[0][1]) - 1)
    methods = []
    for place, (label, of_query) in enumerate(ranks):
        top = runs.known_top(number, place)
        hits = _hits(index, found, direction, top, n) if isinstance(top, tuple) else []
        methods.append((place, label, of_query[n], top, hits))
    record = index.records([found.row(direction, n)])[0]
    values: Values = {"number": number, "direction": direction, "directions": _DIRECTIONS, "n": n}
    values["lacking"] = sum(not isinstance(top, tuple | WaitingError) for *_, top, _ in methods)
    return context.page(request, "query.html", record=record, methods=methods, **values)


def _hits(index: Index, found: Queries, direction: str, top: Top, n: int) -> list[dict[str, Any]]:
    of_images = direction == "image_to_text"
    rows, retrieved = (found.rows, top.captions) if of_images else (found.first, top.images)
    return index.records([int(rows[each]) for each in retrieved[n].tolist() if each >= 0])


@result_page("/results/negatives")
def negatives(context: Context, request: Request, runs: Runs, number: int) -> Response:
    """List the false captions that fool methods, those that fool most methods first."""
    from fdrd.viewer.results import false_caption

    index, values = context.library.current(), Values()
    found = runs.false_captions(index, number)
    if found is not None:
        counts = found.counts()
        kind = choice_of(request, "kind", counts, "")
        method = integer_of(request, "m", 0, len(found.methods))  # counted from 1
        chosen = found.most_fooling(kind, method - 1 if method else None)
        shown, values = listed(request, chosen.tolist())
        items = [
            (record, false_caption(index, found, n, record), found.kinds[n], found.fools(n))
            for n, record in zip(shown, index.records(found.rows[shown].tolist()), strict=True)
        ]
        values |= {"counts": counts, "kind": kind, "method": method, "items": items}
    values |= {"number": number, "heading": runs.heading(number), "found": found}
    return context.page(request, "negatives.html", **values)


@result_page("/results/top")
def top(context: Context, request: Request, runs: Runs, number: int) -> Response:
    """Begin to compute what a method retrieves, or all of them, or say how far that is."""
    index, rows = context.library.current(), runs.comparisons[number].rows
    if request.query_params.get("all"):
        for place in range(len(rows)):
            runs.top(index, number, place)
        return Response("", headers={"HX-Refresh": "true"})  # each shows how far it is
    place = integer_of(request, "m", 0, len(rows) - 1)
    found = runs.top(index, number, place)
    answer = context.page(request, "_top.html", number=number, place=place, top=found)
    if isinstance(found, tuple):
        answer.headers["HX-Refresh"] = "true"  # the page that asked shows it
    return answer


def _direction(request: Request) -> str:
    return choice_of(request, "direction", _DIRECTIONS, "text_to_image")
