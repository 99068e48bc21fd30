"""Many records at once: one decision for all that are selected, and their export."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from urllib.parse import parse_qsl

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from fdrd.curation.decisions import Decision, value_flaw
from fdrd.errors import FdrdError
from fdrd.viewer.context import Context
from fdrd.viewer.decision_log import Review
from fdrd.viewer.facets import Indices, parse_state
from fdrd.viewer.forms import form_pairs, in_thread, local, with_values
from fdrd.viewer.index import Index
from fdrd.viewer.review import flaw_of, new_decision, now
from fdrd.viewer.review_pages import undo

MOST = 20_000
"""Records that one form may decide on."""
_BYTES = 2**20
_DECIDES = {"accept": "", "drop": "", "category": "category", "tag": "tag", "untag": "tag"}
"""What can be decided for many records, and the field of the form that has its value."""
_EXPORTS = {"ids": ("text/plain", "txt"), "jsonl": ("application/x-ndjson", "jsonl")}
_NOT_EXPORTED = {"row", "shard", "place", "error"}


class SelectionPages:
    """Handlers of the form around the grid."""

    def __init__(self, context: Context):
        self.context = context

    async def act(self, request: Request) -> Response:
        """Decide on the selected records, or export them."""
        pairs = await form_pairs(request, _BYTES)
        return await in_thread(self._act, request, pairs)

    def _act(self, request: Request, pairs: list[tuple[str, str]]) -> Response:
        form = dict(pairs)
        action, back = form.get("action", ""), local(form.get("back", "/"))
        index = self.context.library.current()
        try:
            if action == "undo":
                decisions = undo(self._review(), self.context.reviewer_of(request))
                self._review().add(*decisions)
                return RedirectResponse(with_values(back, saved=f"undid {_count(decisions)}"), 303)
            rows = self._rows(index, form, [value for name, value in pairs if name == "row"])
            if action in _EXPORTS:
                return _export(index, rows, action)
            saved, problem = self._decide(request, index, rows, form)
        except FdrdError as error:
            return RedirectResponse(with_values(back, problem=str(error)), 303)
        except OSError as error:
            return RedirectResponse(with_values(back, problem=f"Not saved: {error}"), 303)
        return RedirectResponse(with_values(back, saved=saved, problem=problem), 303)

    def _review(self) -> Review:
        if self.context.review is None:
            raise HTTPException(403, "This server has no --review, so nothing can be written.")
        return self.context.review

    def _rows(self, index: Index, form: dict[str, str], listed: Sequence[str]) -> Indices:
        """Return the selected rows: those that are listed, or all that the address of the page selects.

        Raises:
            FdrdError: the dataset has changed since the page was loaded, or nothing is selected.
        """
        if form.get("version") != index.version:
            raise FdrdError("the dataset has changed since the page was loaded; select again")
        if form.get("all"):
            _, _, query = form.get("back", "").partition("?")
            rows = self.context.selection(index, parse_state(parse_qsl(query))).rows
        else:
            numbers = {int(n) for n in listed if n.isascii() and n.isdecimal() and len(n) < 10}
            rows = np.array(sorted(n for n in numbers if n < index.columns.size), np.int32)
        if not len(rows):
            raise FdrdError("no record is selected")
        return rows

    def _decide(
        self, request: Request, index: Index, rows: Indices, form: dict[str, str]
    ) -> tuple[str, str]:
        """Write one decision on each row; return what was saved, and what was not and why.

        Raises:
            FdrdError: the decision is unknown, has no usable value, or there are too many rows.
        """
        review, action = self._review(), form.get("action", "")
        if action not in _DECIDES:
            raise FdrdError("unknown action")
        if len(rows) > MOST:
            raise FdrdError(
                f"{len(rows):,} records are selected; decide on at most {MOST:,} at once"
            )
        value, field = "", _DECIDES[action]
        if field:
            value = " ".join(form.get(field, "").split())
            if flaw := value_flaw(action, value) or (not value and f"the {field} is empty"):
                raise FdrdError(f"Not saved: {flaw}")
        reviewer, time, decisions = self.context.reviewer_of(request), now(), []
        refused: list[str] = []
        for record in index.stream(rows):
            decision = new_decision(record, reviewer, action, value, time)
            if flaw := flaw_of(record, review.of(record["id"]), decision):
                refused.append(flaw)
            else:
                decisions.append(decision)
        if decisions:
            review.add(*decisions)
        what = f"{action} {value}" if value else action
        saved = f"{what}: {_count(decisions)}" if decisions else ""
        return saved, f"Not saved: {len(refused):,}, e.g. {refused[0]}" if refused else ""


def _count(decisions: Sequence[Decision]) -> str:
    return f"{len(decisions):,} {'record' if len(decisions) == 1 else 'records'}"


def _export(index: Index, rows: Indices, form: str) -> Response:
    media, ending = _EXPORTS[form]

    def lines() -> Iterator[str]:
        for record in index.stream(rows):
            if form == "jsonl":
                record = {k: v for k, v in record.items() if k not in _NOT_EXPORTED}
                yield json.dumps(record, ensure_ascii=False) + "\n"
            else:
                yield _id_line(record["id"])

    headers = {"Content-Disposition": f'attachment; filename="selection.{ending}"'}
    encoded = (line.encode("utf-8", "backslashreplace") for line in lines())
    return StreamingResponse(encoded, media_type=f"{media}; charset=utf-8", headers=headers)


def _id_line(record_id: str) -> str:
    r"""Return an id as a line that `fdrd build --only` reads.

    >>> _id_line("birds/1"), _id_line('a\n"b"')
    ('birds/1\n', '"a\\n\\"b\\""\n')
    """
    plain = record_id.isprintable() and record_id == record_id.strip() and record_id[:1] not in '{"'
    return (record_id if plain else json.dumps(record_id, ensure_ascii=False)) + "\n"
