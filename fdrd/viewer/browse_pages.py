"""Pages about records: grid, table, map, a record and its image, rejections, near duplicates, changes since a build."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from starlette.requests import Request
from starlette.responses import Response

from fdrd.errors import FdrdError
from fdrd.images.check import read_image
from fdrd.negatives.natural_pairs import splitmix64
from fdrd.viewer.context import UNSEEN, Context
from fdrd.viewer.facets import PAGE, SINGLE, Indices
from fdrd.viewer.images import SIDE, encode, image_bytes, image_response, placeholder, thumbnail
from fdrd.viewer.index import Index
from fdrd.viewer.meaning import WaitingError, backbone_of
from fdrd.viewer.pages import Values, choice_of, listed, page, state_of
from fdrd.viewer.rejections import LEAKS, read_rejected
from fdrd.viewer.review import corrected, with_reasons

_NUMBERS = {
    "words": "Words of the caption",
    "width": "Image width",
    "height": "Image height",
    "negatives": "Hard negatives",
}
_BINS = 24
MOST_SHOWN = 50_000  # points that a map draws; of more, a random part
COLORS = 12  # labels with a color of their own on the map; all others share one
_BY = {name: SINGLE[name] for name in ("category", "split", "domain", "meta")}
_RANK = {"rank": "Rank under the best method"}
_RANKS = ["rank 1", "rank 2 to 5", "rank 6 to 10", "over 10", "not measured"]
_COMPARED = ("caption", "category", "split")
KINDS = {"added": "Added", "dropped": "Dropped"} | {kind: f"New {kind}" for kind in _COMPARED}


@page("/")
def browse(context: Context, request: Request) -> Response:
    """Show the grid of the records that the URL selects."""
    index, state = context.library.current(), state_of(request)
    all_of, problem = request.query_params.get("all", ""), request.query_params.get("problem", "")
    try:
        selection = context.selection(index, state, all_of)
    except WaitingError:
        raise
    except FdrdError as error:
        state = replace(state, similar="", like="", area="")
        problem = f"{error}; words are searched instead"
        selection = context.selection(index, state, all_of)
    rows = selection.rows[(state.page - 1) * PAGE : state.page * PAGE]
    records = index.records(rows.tolist(), spans=False)
    values: Values = {"index": index, "state": state, "selection": selection, "records": records}
    values |= {"problem": problem, "marks": _marks(context, index, rows)}
    return context.page(request, "browse.html", **values, **_pages(selection.rows))


@page("/table")
def table(context: Context, request: Request) -> Response:
    """Show the records that the URL selects as rows, with a histogram of each number."""
    index, state = context.library.current(), state_of(request)
    rows = context.selection(index, state).rows
    records = index.records(rows[(state.page - 1) * PAGE : state.page * PAGE].tolist())
    extra = list(dict.fromkeys(name for record in records for name in record["extra"]))
    numbers = {title: index.columns.codes[name][rows] for name, title in _NUMBERS.items()}
    charts = [histogram(title, each) for title, each in numbers.items() if len(rows)]
    values: Values = {"state": state, "records": records, "extra": extra, "charts": charts}
    return context.page(request, "table.html", **values, **_pages(rows))


def _pages(rows: Indices) -> dict[str, Any]:
    return {"total": len(rows), "pages": max(1, -(-len(rows) // PAGE))}


def _marks(context: Context, index: Index, rows: Indices) -> dict[int, list[str]]:
    """Return what reviewers said of each row: verdict and tags."""
    marks: dict[int, list[str]] = {row: [] for row in rows.tolist()}
    for labels in context.reviewed(index).values():
        for label, found in labels.items():
            for row in rows[np.isin(rows, found)].tolist() if label != UNSEEN else ():
                marks[row].append(label)
    return marks


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


@page("/map")
def map_page(context: Context, request: Request) -> Response:
    """Show the map of the records that the URL selects."""
    index, state = context.library.current(), state_of(request)
    context.points(index)
    rows = context.selection(index, state).rows
    by, choices = _colored_by(context, request)
    names, _ = _colors(context, index, by, rows)
    values: Values = {
        "state": state,
        "by": by,
        "choices": choices,
        "names": names,
        "total": len(rows),
    }
    return context.page(request, "map.html", backbone=backbone_of(index), **values)


@page("/map/points")
def map_points(context: Context, request: Request) -> Response:
    """Give the points of the map."""
    index, state = context.library.current(), state_of(request)
    rows = context.selection(index, state).rows
    _, colors = _colors(context, index, _colored_by(context, request)[0], rows)
    data = packed(context.points(index), rows, colors)
    return Response(data, media_type="application/octet-stream")


def _colored_by(context: Context, request: Request) -> tuple[str, dict[str, str]]:
    """Return what colors the map, and all that can."""
    choices = _BY | (_RANK if context.runs else {})
    return choice_of(request, "by", choices, "category"), choices


def _colors(context: Context, index: Index, by: str, rows: Indices) -> tuple[list[str], Indices]:
    """Return what each color means, and the color of every row of the index."""
    if by != "rank" or not context.runs:
        return legend(index.columns.labels[by], index.columns.codes[by], rows)
    ranks = context.runs.best_ranks(index)
    return _RANKS, np.searchsorted([1, 5, 10, 1e9], ranks).astype(np.int32)


def packed(points: Indices, rows: Indices, colors: Indices) -> bytes:
    """Return x, y and color of rows as 16-bit integers, little-endian, in random order."""
    rows = rows[points[rows, 0] >= 0]
    rows = rows[np.argsort(splitmix64(rows), kind="stable")[:MOST_SHOWN]]
    drawn: npt.NDArray[np.uint16] = np.column_stack([points[rows], colors[rows]]).astype("<u2")
    return drawn.tobytes()


def legend(labels: list[str], codes: Indices, rows: Indices) -> tuple[list[str], Indices]:
    """Return the labels that get a color, most frequent first, and the color of every row."""
    counts = np.bincount(codes[rows], minlength=len(labels))
    first = np.argsort(-counts, kind="stable")[:COLORS]
    first = first[counts[first] > 0]
    colors = np.full(len(labels), COLORS, np.int32)
    colors[first] = np.arange(len(first))
    names = [labels[code] for code in first]
    return names + (["other"] if np.count_nonzero(counts) > len(names) else []), colors[codes]


@page("/record")
def record(context: Context, request: Request) -> Response:
    """Show one record with everything that is known about it."""
    index, state, runs = context.library.current(), state_of(request), context.runs
    shown = index.record(request.query_params.get("id", ""))
    if shown is None:
        return context.page(request, "missing.html", 404)
    try:
        rows = context.selection(index, state).rows
    except FdrdError:  # a search by meaning that waits for its features, or cannot
        rows = np.zeros(0, np.int32)
    before, after = _neighbors(index, rows, shown["row"])
    same = index.having("image", shown["image"]) if shown["image"] else []
    near = index.having("cluster", shown["cluster"], 50)
    decisions = [each for review in context.readable for each in review.of(shown["id"])]
    outcome = corrected(shown, decisions)
    values: Values = {
        "same": [each for each in same if each["row"] != shown["row"]],
        "near": [each for each in near if each["image"] != shown["image"]],
        "ranks": runs.ranks_of(index, shown["row"]) if runs else [],
        "fooled": runs.fooled_by(index, shown) if runs else None,
        "decisions": with_reasons(decisions, outcome),
        "corrected": outcome.record,
    }
    values |= {"index": index, "record": shown, "state": state, "before": before, "after": after}
    return context.page(request, "record.html", **values)


def _neighbors(index: Index, rows: Indices, row: int) -> tuple[str, str]:
    """Return the ids of the records before and after one in a selection; empty where there is none."""
    position = np.flatnonzero(rows == row)
    if not len(position):
        return "", ""
    around = (rows[: position[0]][-1:], rows[position[0] + 1 :][:1])
    before, after = (index.records(some.tolist(), spans=False) for some in around)
    return before[0]["id"] if before else "", after[0]["id"] if after else ""


@page("/waiting")
def waiting(context: Context, request: Request) -> Response:
    """Say how far the features are that a page waits for; the page loads again when they are there."""
    values = request.query_params
    state = context.meaning.waiting(values.get("key", ""), values.get("side", ""))
    if state is None:
        return Response("", headers={"HX-Refresh": "true"})
    return context.page(request, "_waiting.html", waiting=state)


@page("/thumb")
def thumb(context: Context, request: Request) -> Response:
    """Give the thumbnail of a record."""
    return _image(context.library.current(), request, small=True)


@page("/image")
def image(context: Context, request: Request) -> Response:
    """Give the image of a record at full size."""
    return _image(context.library.current(), request, small=False)


@page("/changes/thumb")
def thumb_before(context: Context, request: Request) -> Response:
    """Give the thumbnail of a record of the earlier build."""
    return _image(context.before, request, small=True)


def _image(index: Index | None, request: Request, small: bool) -> Response:
    """Return the image of the record that is asked for, or a drawing that says why it cannot be shown."""
    shown = index.record(request.query_params.get("id", "")) if index else None
    if index is None or shown is None:
        return placeholder("no such record", 404)
    shard = index.shards[shown["shard"]][0]
    try:
        if small:
            return image_response(thumbnail(index.folder, shard, shown))
        data = image_bytes(index.folder / shard, shown["place"], shown["image"])
        return image_response(encode(data))
    except FdrdError:
        return placeholder("image damaged")


@page("/rejected")
def rejected_page(context: Context, request: Request) -> Response:
    """List rejected records by reason; pairs are shown side by side."""
    index = context.library.current()
    everything = read_rejected(index.folder)
    reason = request.query_params.get("reason", "")
    wanted = LEAKS if reason == "leaks" else {reason}
    chosen = [each for each in everything if not reason or each.item["reason"] in wanted]
    shown, paging = listed(request, chosen)
    decisions = context.review.effective()[1] if context.review else {}
    decided = {each.name: decisions[each.name][-1] for each in everything if each.name in decisions}
    captionable = [each for each in chosen if each.captionable]
    counts = Counter(each.item["reason"] for each in everything)
    paging |= {"rejected": shown, "reason": reason, "reasons": counts.most_common()}
    paging |= {"decided": decided, "captionable": len(captionable)}
    return context.page(
        request,
        "rejected.html",
        others={each.number: _kept(index, each.other) for each in shown},
        written=sum(each.name in decided for each in captionable),
        drafts=context.drafts.of(shown) if context.drafts else {},
        leaks=sum(counts[leak] for leak in LEAKS),
        **paging,
    )


@page("/rejected/image")
def rejected_image(context: Context, request: Request) -> Response:
    """Give the thumbnail of a rejected record, read from inside the raw source only."""
    number = request.query_params.get("n", "")
    rejected = read_rejected(context.library.current().folder)
    image = next((each.image for each in rejected if str(each.number) == number), None)
    if not image or context.source is None:
        return placeholder("cannot be shown")  # the page says why
    try:
        return image_response(encode(read_image(str(context.source), image), SIDE))
    except (FdrdError, OSError, LookupError, ValueError):
        return placeholder("cannot be shown")


def _kept(index: Index, name: str) -> dict[str, Any] | None:
    """Return the kept record with an image or an id."""
    found = index.having("file", name.partition(": ")[0], 1) if name else []
    return found[0] if found else index.record(name)


@page("/duplicates")
def duplicates(context: Context, request: Request) -> Response:
    """List the clusters of near duplicates that were kept."""
    index = context.library.current()
    shown, paging = listed(request, index.clusters())
    groups = []
    for name in shown:
        records = reversed(index.having("cluster", name, 200))
        groups.append((name, [*{each["image"]: each for each in records}.values()][::-1]))
    return context.page(request, "duplicates.html", groups=groups, **paging)


@page("/changes")
def changes_page(context: Context, request: Request) -> Response:
    """List the records that differ from an earlier build in one way."""
    before, index = context.before, context.library.current()
    if before is None:
        return context.page(request, "no_changes.html")
    found = context.once("changes", index.version, lambda: changes(before, index))
    first = next((each for each in KINDS if found[each]), "added")
    kind = choice_of(request, "kind", KINDS, first)
    ids, paging = listed(request, found[kind])
    counts = {each: len(several) for each, several in found.items()}
    pairs = [(before.record(each), index.record(each)) for each in ids]
    paging |= {"kinds": KINDS, "counts": counts, "kind": kind, "pairs": pairs}
    return context.page(request, "changes.html", earlier=before.folder, **paging)


def changes(before: Index, after: Index) -> dict[str, list[str]]:
    """Return the ids of the records that differ, by kind, in the order of their dataset."""
    old, new = before.summaries(), after.summaries()
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for record_id, values in new.items():
        if record_id not in old:
            found["added"].append(record_id)
            continue
        both = zip(_COMPARED, values, old[record_id], strict=True)
        for kind in (kind for kind, value, other in both if value != other):
            found[kind].append(record_id)
    found["dropped"] = [record_id for record_id in old if record_id not in new]
    return found
