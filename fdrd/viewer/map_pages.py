"""The page of the map, and its points."""

from __future__ import annotations

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from fdrd.viewer.context import Context, state_of
from fdrd.viewer.embedding_map import legend, packed
from fdrd.viewer.facets import SINGLE, Indices
from fdrd.viewer.index import Index
from fdrd.viewer.meaning import backbone_of

_BY = {name: SINGLE[name] for name in ("category", "split", "domain", "meta")}
_RANK = {"rank": "Rank under the best method"}
_RANKS = ["rank 1", "rank 2 to 5", "rank 6 to 10", "over 10", "not measured"]


class MapPages:
    """Handlers of the map."""

    def __init__(self, context: Context):
        self.context = context

    def page(self, request: Request) -> Response:
        """Show the map of the records that the URL selects."""
        index, state = self.context.library.current(), state_of(request)
        self.context.points(index)
        rows = self.context.selection(index, state).rows
        by = self._by(request)
        names, _ = self._colors(index, by, rows)
        return self.context.page(
            request, "map.html", state=state, backbone=backbone_of(index), by=by, choices=self._choices(), names=names,
            total=len(rows),
        )  # fmt: skip

    def points(self, request: Request) -> Response:
        """Give the points of the map."""
        index, state = self.context.library.current(), state_of(request)
        rows = self.context.selection(index, state).rows
        _, colors = self._colors(index, self._by(request), rows)
        data = packed(self.context.points(index), rows, colors)
        return Response(data, media_type="application/octet-stream")

    def _choices(self) -> dict[str, str]:
        return _BY | (_RANK if self.context.runs else {})

    def _by(self, request: Request) -> str:
        by = request.query_params.get("by", "")
        return by if by in self._choices() else "category"

    def _colors(self, index: Index, by: str, rows: Indices) -> tuple[list[str], Indices]:
        """Return what each color means, and the color of every row of the index."""
        if by != "rank" or not self.context.runs:
            return legend(index.columns.labels[by], index.columns.codes[by], rows)
        ranks = self.context.runs.best_ranks(index)
        return _RANKS, np.searchsorted([1, 5, 10, 1e9], ranks).astype(np.int32)
