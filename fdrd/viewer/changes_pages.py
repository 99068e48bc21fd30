"""What changed between an earlier build and the dataset that is open, record by record."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from fdrd.viewer.browse_pages import image_of
from fdrd.viewer.context import Context, page_of
from fdrd.viewer.index import Index

KINDS = {
    "added": "Added",
    "dropped": "Dropped",
    "caption": "New caption",
    "category": "New category",
    "split": "New split",
}


def changes(before: Index, after: Index) -> dict[str, list[str]]:
    """Return the ids of the records that differ, by kind, in the order of their dataset."""
    old, new = before.summaries(), after.summaries()
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for record_id, values in new.items():
        if record_id not in old:
            found["added"].append(record_id)
            continue
        for kind, value, other in zip(
            ("caption", "category", "split"), values, old[record_id], strict=True
        ):
            if value != other:
                found[kind].append(record_id)
    found["dropped"] = [record_id for record_id in old if record_id not in new]
    return found


class ChangesPages:
    """Handlers of the page of changes."""

    def __init__(self, context: Context):
        self.context = context
        self._found: tuple[str, dict[str, list[str]]] = ("", {})

    def page(self, request: Request) -> Response:
        """List the records that differ in one way."""
        before, index = self.context.before, self.context.library.current()
        if before is None:
            return self.context.page(request, "no_changes.html")
        if self._found[0] != index.version:
            self._found = index.version, changes(before, index)
        found = self._found[1]
        kind = request.query_params.get("kind", "")
        kind = kind if kind in KINDS else next((each for each in KINDS if found[each]), "added")
        page, pages, ids = page_of(request, found[kind])
        pairs: list[tuple[dict[str, Any] | None, dict[str, Any] | None]] = [
            (before.record(each), index.record(each)) for each in ids
        ]
        return self.context.page(
            request, "changes.html", kinds=KINDS, counts={k: len(v) for k, v in found.items()}, kind=kind,
            pairs=pairs, page=page, pages=pages, earlier=before.folder,
        )  # fmt: skip

    def thumb(self, request: Request) -> Response:
        """Give the thumbnail of a record of the earlier build."""
        return image_of(self.context.before, request, small=True)
