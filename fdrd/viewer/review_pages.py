"""Pages of a review: the queue, one record at a time, and the form that every decision goes through."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from msgspec.structs import replace
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fdrd.curation.decisions import Decision, value_flaw
from fdrd.errors import FdrdError
from fdrd.record import Attribute
from fdrd.text.attributes import TYPES
from fdrd.viewer.context import Context, link, state_of
from fdrd.viewer.decision_log import Review
from fdrd.viewer.facets import Indices
from fdrd.viewer.index import Index
from fdrd.viewer.rejections import read_rejected
from fdrd.viewer.review import (
    QUEUES,
    corrected,
    digest_of,
    keep_decision,
    new_decision,
    queue,
    with_reasons,
)

_MOST = 65536
"""Bytes of a form."""
_ADVANCES = frozenset({"accept", "drop"})
_REVIEWER = "fdrd_reviewer"


class ReviewPages:
    """Handlers of the review."""

    def __init__(self, context: Context):
        self.context = context

    def page(self, request: Request) -> Response:
        """Show the record to decide on: the one that is named, or the next of the queue."""
        review = self.context.review
        if review is None:
            return self.context.page(request, "no_review.html")
        index, state = self.context.library.current(), state_of(request)
        kind = request.query_params.get("queue", "random")
        kind = kind if kind in QUEUES else "random"
        reviewer = self._reviewer_of(request)
        rows = self._queue(index, kind, self.context.selection(index, state).rows)
        row = self._next(request, index, review, rows, reviewer)
        record = index.records([row])[0] if row is not None else None
        decisions = review.of(record["id"]) if record else []
        outcome = corrected(record, decisions) if record else None
        return self.context.page(
            request, "review.html", state=state, kind=kind, queues=QUEUES, reviewer=reviewer, record=record,
            decisions=with_reasons(decisions, outcome) if outcome else [],
            corrected=outcome.record if outcome else None,
            categories=index.columns.labels["category"], types=TYPES, size=len(rows),
            progress=review.progress(), agreement=review.agreement(), last=review.last_of(reviewer),
            digest=digest_of(record) if record else "", without=_without, retyped=_retyped, spans_json=_spans_json,
            saved=request.query_params.get("saved", ""), problem=request.query_params.get("problem", ""),
        )  # fmt: skip

    async def decide(self, request: Request) -> Response:
        """Write one decision, then go on. The page that follows shows what is on the disk."""
        form = await _form(request)
        return await _in_thread(self._decide, request, form)

    async def set_reviewer(self, request: Request) -> Response:
        """Remember the name of the reviewer in this browser."""
        form = await _form(request)
        answer = RedirectResponse(_local(form.get("back", "/review")), 303)
        name = "".join(form.get("reviewer", "").split())[:40]
        if name.isprintable() and name.isascii():
            answer.set_cookie(_REVIEWER, name, max_age=10**8, httponly=True, samesite="strict")
        return answer

    def _decide(self, request: Request, form: dict[str, str]) -> Response:
        review = self.context.review
        if review is None:
            raise HTTPException(403, "This server has no --review, so nothing can be written.")
        index, reviewer = self.context.library.current(), self._reviewer_of(request)
        action, back = form.get("action", ""), _local(form.get("back", "/review"))
        try:
            if action == "undo":
                decision = _undo(review, reviewer)
            elif action == "keep":
                decision = self._keep(index, form, reviewer)
            else:
                decision = _decision(index, review, form, reviewer)
            review.add(decision)
        except FdrdError as error:
            return RedirectResponse(_with(back, problem=str(error), id=form.get("record", "")), 303)
        except OSError as error:
            problem = f"Not saved: {review.path}: {error.strerror or error}"
            return RedirectResponse(_with(back, problem=problem, id=form.get("record", "")), 303)
        if action == "undo":
            return RedirectResponse(_with(back, saved="undo", id=decision.record), 303)
        if action in _ADVANCES:
            return RedirectResponse(_with(back, saved=action), 303)
        if action == "keep":
            return RedirectResponse(back, 303)
        return RedirectResponse(_with(back, saved=action, id=decision.record), 303)

    def _keep(self, index: Index, form: dict[str, str], reviewer: str) -> Decision:
        wanted = form.get("number", "")
        for each in read_rejected(index.folder):
            if str(each.number) == wanted and each.item["key"] == form.get("key") and each.keepable:
                return keep_decision(each.item, reviewer)
        raise FdrdError("the list of rejected records has changed; reload the page")

    def _reviewer_of(self, request: Request) -> str:
        return request.cookies.get(_REVIEWER) or self.context.reviewer

    def _queue(self, index: Index, kind: str, rows: Indices) -> Indices:
        flagged = np.unique(index.columns.rows_of("flag"))
        boundary = np.zeros(0, np.int32)
        if kind == "boundary" and self.context.runs:
            boundary = self.context.runs.boundary(index)
        return queue(kind, rows, index.columns.codes["category"], flagged, boundary)

    def _next(
        self, request: Request, index: Index, review: Review, rows: Indices, reviewer: str
    ) -> int | None:
        """Return the row that is named by `id`, else the first of the queue, after `after`, without a verdict."""
        if asked := index.record(request.query_params.get("id", "")):
            return int(asked["row"])
        done = set(index.rows_of(review.done_by(reviewer)).values())
        after = index.record(request.query_params.get("after", ""))
        places = np.flatnonzero(rows == after["row"]) if after else np.zeros(0, int)
        start = int(places[0]) + 1 if len(places) else 0
        waiting = (
            row for row in (*rows[start:].tolist(), *rows[:start].tolist()) if row not in done
        )
        return next(waiting, None)


def _decision(index: Index, review: Review, form: dict[str, str], reviewer: str) -> Decision:
    """Return the decision that a form makes.

    Raises:
        FdrdError: the record is gone or has changed, or the correction does not fit it.
    """
    record = index.record(form.get("record", ""))
    if record is None or form.get("digest") != digest_of(record):
        raise FdrdError("the record has changed since the page was loaded; look at it again")
    action, text = form.get("action", ""), form.get("value", "").replace("\r\n", "\n").strip()
    value: Any = text
    if action in ("caption", "category", "negative", "comment"):
        if not text:
            raise FdrdError(f"the {action} is empty")
    elif action == "attributes":
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise FdrdError("attributes are a JSON list") from None
    elif action in ("accept", "drop"):
        value = ""
    else:
        raise FdrdError("unknown action")
    if flaw := value_flaw(action, value):
        raise FdrdError(f"Not saved: {flaw}")
    decision = new_decision(record, reviewer, action, value)
    outcome = corrected(record, [*review.of(record["id"]), decision])
    for each, reason in outcome.stale:
        if each is decision:
            raise FdrdError(f"Not saved: {reason}")
    return decision


def _undo(review: Review, reviewer: str) -> Decision:
    last = review.last_of(reviewer)
    if last is None:
        raise FdrdError("there is nothing to undo")
    return Decision(last.record, last.digest, reviewer, last.time, "undo", last.action)


def _spans_json(spans: Iterable[Attribute]) -> str:
    return json.dumps([{"type": s.type, "start": s.start, "end": s.end} for s in spans])


def _without(spans: Iterable[Attribute], removed: Attribute) -> str:
    return _spans_json(span for span in spans if span != removed)


def _retyped(spans: Iterable[Attribute], changed: Attribute, type_: str) -> str:
    return _spans_json(replace(s, type=type_) if s == changed else s for s in spans)


async def _form(request: Request) -> dict[str, str]:
    """Return the fields of a form.

    Raises:
        HTTPException: it is too large.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST:
            raise HTTPException(413, "The form is too large.")
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


async def _in_thread(function: Any, *values: Any) -> Response:
    from starlette.concurrency import run_in_threadpool

    answer: Response = await run_in_threadpool(function, *values)
    return answer


def _local(path: str) -> str:
    """Return a path of this server, whatever the form says."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/review"


def _with(back: str, **values: str) -> str:
    """Return a URL with some values set, and the record and messages of the last page removed."""
    path, _, query = back.partition("?")
    pairs = [(k, v) for k, v in parse_qsl(query) if k not in ("id", "after", "saved", "problem")]
    known = dict(pairs)
    joined = "&".join(link("", **{k: v})[1:] for k, v in pairs)
    added = link("", **{k: v for k, v in values.items() if k not in known})[1:]
    rest = "&".join(filter(None, (joined, added)))
    return f"{path}?{rest}" if rest else path
