"""Pages about records: the grid, a record, its image; rejected records and near duplicates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from fdrd.errors import FdrdError
from fdrd.viewer.context import UNSEEN, Context, page_of, state_of
from fdrd.viewer.facets import ORDERS, PAGE, Indices
from fdrd.viewer.images import TYPE, encode, image_bytes, placeholder, thumbnail
from fdrd.viewer.index import Index
from fdrd.viewer.meaning import WaitingError
from fdrd.viewer.rejections import LEAKS, Rejected, read_rejected, reasons, rejected_image
from fdrd.viewer.review import corrected, with_reasons

_FOREVER = {"Cache-Control": "private, max-age=86400"}


class BrowsePages:
    """Handlers of the pages about records."""

    def __init__(self, context: Context):
        self.context = context

    def browse(self, request: Request) -> Response:
        """Show the grid of the records that the URL selects."""
        index, state = self.context.library.current(), state_of(request)
        all_of = request.query_params.get("all", "")
        problem = request.query_params.get("problem", "")
        try:
            selection = self.context.selection(index, state, all_of)
        except WaitingError:
            raise
        except FdrdError as error:
            state = replace(state, similar="", like="", area="")
            problem = f"{error}; words are searched instead"
            selection = self.context.selection(index, state, all_of)
        total = len(selection.rows)
        start = (state.page - 1) * PAGE
        rows = selection.rows[start : start + PAGE]
        records = index.records(rows.tolist(), spans=False)
        return self.context.page(
            request, "browse.html", state=state, selection=selection, records=records, total=total,
            orders=ORDERS, pages=max(1, -(-total // PAGE)), damaged=_damaged(index), all_of=all_of,
            methods=self.context.meaning.methods(index), problem=problem,
            marks=self._marks(index, rows), version=index.version,
            saved=request.query_params.get("saved", ""), categories=index.columns.labels["category"],
        )  # fmt: skip

    def record(self, request: Request) -> Response:
        """Show one record with everything that is known about it."""
        index = self.context.library.current()
        record = index.record(request.query_params.get("id", ""))
        if record is None:
            return self.context.page(request, "missing.html", 404)
        state = state_of(request)
        try:
            rows = self.context.selection(index, state).rows
        except FdrdError:  # a search by meaning that waits for its features, or cannot
            rows = np.zeros(0, np.int32)
        before, after = _neighbors(index, rows, record["row"])
        same = [each for each in index.of_image(record["image"]) if each["row"] != record["row"]]
        near = [
            each for each in index.of_cluster(record["cluster"]) if each["image"] != record["image"]
        ]
        reviews = [
            (review.path.parent.name, review.of(record["id"])) for review in self.context.readable
        ]
        decisions = [decision for _, several in reviews for decision in several]
        outcome = corrected(record, decisions)
        return self.context.page(
            request, "record.html", record=record, state=state, before=before, after=after,
            same=same if record["image"] else [], near=near,
            methods=self.context.meaning.methods(index),
            ranks=self.context.runs.ranks_of(index, record["row"]) if self.context.runs else [],
            fooled=self.context.runs.fooled_by(index, record) if self.context.runs else None,
            decisions=with_reasons(decisions, outcome), corrected=outcome.record,
        )  # fmt: skip

    def waiting(self, request: Request) -> Response:
        """Say how far the features are that a page waits for; the page loads again when they are there."""
        values = request.query_params
        waiting = self.context.meaning.waiting(values.get("key", ""), values.get("side", ""))
        if waiting is None:
            return Response("", headers={"HX-Refresh": "true"})
        return self.context.page(request, "_waiting.html", waiting=waiting)

    def thumb(self, request: Request) -> Response:
        """Give the thumbnail of a record."""
        return image_of(self.context.library.current(), request, small=True)

    def image(self, request: Request) -> Response:
        """Give the image of a record at full size."""
        return image_of(self.context.library.current(), request, small=False)

    def rejected(self, request: Request) -> Response:
        """List rejected records by reason; pairs are shown side by side."""
        index = self.context.library.current()
        rejected = read_rejected(index.folder)
        reason = request.query_params.get("reason", "")
        wanted = LEAKS if reason == "leaks" else {reason} if reason else None
        chosen = [each for each in rejected if wanted is None or each.item["reason"] in wanted]
        page, pages, shown = page_of(request, chosen)
        others = {each.number: _other(index, each) for each in shown}
        decided = {}
        if self.context.review:
            of_record = self.context.review.effective()[1]
            decided = {
                each.name: of_record[each.name][-1] for each in rejected if each.name in of_record
            }
        captionable = [each for each in chosen if each.captionable]
        return self.context.page(
            request, "rejected.html", rejected=shown, reason=reason, reasons=reasons(rejected), page=page, pages=pages,
            total=len(chosen), others=others, decided=decided,
            captionable=len(captionable), written=sum(each.name in decided for each in captionable),
            drafts=self.context.drafts.of(shown) if self.context.drafts else {},
            problem=request.query_params.get("problem", ""), saved=request.query_params.get("saved", ""),
            leaks=sum(each.item["reason"] in LEAKS for each in rejected),
        )  # fmt: skip

    def rejected_image(self, request: Request) -> Response:
        """Give the thumbnail of a rejected record, from the raw source."""
        number = request.query_params.get("n", "")
        rejected = read_rejected(self.context.library.current().folder)
        found = [each for each in rejected if str(each.number) == number]
        try:
            if not found or self.context.source is None:
                raise FdrdError("give --source to see rejected images")
            data = encode(rejected_image(self.context.source, found[0]), 320)
        except FdrdError:  # the page says why
            return Response(placeholder("cannot be shown"), media_type="image/svg+xml")
        return Response(data, media_type=TYPE, headers=_FOREVER)

    def duplicates(self, request: Request) -> Response:
        """List the clusters of near duplicates that were kept."""
        index = self.context.library.current()
        clusters = index.clusters()
        page, pages, shown = page_of(request, clusters)
        groups = [(name, _distinct_images(index.of_cluster(name, 200))) for name in shown]
        return self.context.page(
            request, "duplicates.html", groups=groups, page=page, pages=pages, total=len(clusters)
        )

    def _marks(self, index: Index, rows: Indices) -> dict[int, list[str]]:
        """Return what reviewers said of each row: verdict and tags."""
        marks: dict[int, list[str]] = {row: [] for row in rows.tolist()}
        for labels in self.context.reviewed(index).values():
            for label, found in labels.items():
                for row in rows[np.isin(rows, found)].tolist() if label != UNSEEN else ():
                    marks[row].append(label)
        return marks


def image_of(index: Index | None, request: Request, small: bool) -> Response:
    """Return the image of the record that is asked for, or a drawing that says why it cannot be shown."""
    record = index.record(request.query_params.get("id", "")) if index else None
    if index is None or record is None:
        return Response(placeholder("no such record"), 404, media_type="image/svg+xml")
    shard = index.shards[record["shard"]][0]
    try:
        if small:
            data = thumbnail(index.folder, shard, record)
        else:
            data = encode(image_bytes(index.folder / shard, record["place"], record["image"]))
    except FdrdError:
        return Response(placeholder("image damaged"), media_type="image/svg+xml")
    return Response(data, media_type=TYPE, headers=_FOREVER)


def _neighbors(index: Index, rows: Indices, row: int) -> tuple[str, str]:
    """Return the ids of the records before and after one in a selection; empty where there is none."""
    at = np.flatnonzero(rows == row)
    if not len(at):
        return "", ""
    ids = {n: rows[n] for n in (at[0] - 1, at[0] + 1) if 0 <= n < len(rows)}
    records = dict(zip(ids, index.records([*ids.values()], spans=False), strict=True))
    before, after = (str(records[n]["id"]) if n in records else "" for n in (at[0] - 1, at[0] + 1))
    return before, after


def _other(index: Index, rejected: Rejected) -> dict[str, Any] | None:
    """Return the kept record that a rejected one met."""
    if not rejected.other:
        return None
    return index.of_file(rejected.other.partition(": ")[0]) or index.record(rejected.other)


def _distinct_images(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({record["image"]: record for record in reversed(records)}.values())[::-1]


def _damaged(index: Index) -> list[str]:
    return [error for _, error in index.shards.values() if error]
