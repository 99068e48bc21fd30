"""Pages of a review: the queue, one record at a time, and the form that every decision goes through."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
from msgspec.structs import replace
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fdrd.curation.decisions import QUESTIONS, Decision, value_flaw
from fdrd.errors import FdrdError
from fdrd.record import KINDS, Attribute
from fdrd.text.attributes import TYPES
from fdrd.viewer.context import REVIEWER, Context, state_of
from fdrd.viewer.decision_log import Review
from fdrd.viewer.facets import Indices
from fdrd.viewer.forms import form_pairs, in_thread, local, with_values
from fdrd.viewer.index import Index
from fdrd.viewer.indexing import NO_CATEGORY
from fdrd.viewer.mislabeled import likely_mislabeled
from fdrd.viewer.rejections import read_rejected
from fdrd.viewer.review import (
    JUDGED,
    QUEUES,
    corrected,
    digest_of,
    flaw_of,
    new_decision,
    queue,
    rejected_decision,
    with_reasons,
)

_ADVANCES = frozenset({"accept", "drop", "judge"})
_QUESTIONS = {
    "false": "Is this caption false for the image?",
    "fluent": "Is it fluent English?",
    "guessable": "Can it be told from the true caption without looking?",
}


class ReviewPages:
    """Handlers of the review."""

    def __init__(self, context: Context):
        self.context = context
        self._found: tuple[str, tuple[Indices, Indices]] = ("", (np.zeros(0, np.int32),) * 2)

    def page(self, request: Request) -> Response:
        """Show the record to decide on: the one that is named, or the next of the queue."""
        review = self.context.review
        if review is None:
            return self.context.page(request, "no_review.html")
        index, state = self.context.library.current(), state_of(request)
        queues = {
            name: title for name, title in QUEUES.items() if name != "pairs" or _has_pairs(index)
        }
        kind = request.query_params.get("queue", "random")
        kind = kind if kind in queues else "random"
        reviewer = self.context.reviewer_of(request)
        rows = self._queue(index, kind, self.context.selection(index, state).rows)
        judgments = review.judged_by(reviewer) if kind in JUDGED else {}
        done_ids = judgments.keys() if kind in JUDGED else review.done_by(reviewer)
        done = index.rows_of(done_ids)
        waiting = rows[~np.isin(rows, [*done.values()])]
        row, previous = self._next(request, index, rows, waiting)
        record = index.records([row])[0] if row is not None else None
        decisions = review.of(record["id"]) if record else []
        outcome = corrected(record, decisions) if record else None
        item = _item(index, kind, record, judgments) if record and kind in JUDGED else None
        return self.context.page(
            request, "judge.html" if item else "review.html", state=state, kind=kind, queues=queues,
            reviewer=reviewer, record=record, item=item, questions=_QUESTIONS, previous=previous,
            decisions=with_reasons(decisions, outcome) if outcome else [],
            corrected=outcome.record if outcome else None, better=self._better(index, kind, record),
            categories=index.columns.labels["category"], types=TYPES, size=len(rows), left=len(waiting),
            done=sum(map(len, judgments.values())), source=self.context.source_name,
            progress=review.progress(), agreement=review.agreement(), last=review.last_of(reviewer),
            digest=digest_of(record) if record else "", without=_without, retyped=_retyped, spans_json=_spans_json,
            saved=request.query_params.get("saved", ""), problem=request.query_params.get("problem", ""),
        )  # fmt: skip

    async def decide(self, request: Request) -> Response:
        """Write one decision, then go on. The page that follows shows what is on the disk."""
        form = dict(await form_pairs(request))
        return await in_thread(self._decide, request, form)

    async def set_reviewer(self, request: Request) -> Response:
        """Remember the name of the reviewer in this browser."""
        form = dict(await form_pairs(request))
        answer = RedirectResponse(local(form.get("back", "/review")), 303)
        name = "".join(form.get("reviewer", "").split())[:40]
        if name.isprintable() and name.isascii():
            answer.set_cookie(REVIEWER, name, max_age=10**8, httponly=True, samesite="strict")
        return answer

    def _decide(self, request: Request, form: dict[str, str]) -> Response:
        review = self.context.review
        if review is None:
            raise HTTPException(403, "This server has no --review, so nothing can be written.")
        index, reviewer = self.context.library.current(), self.context.reviewer_of(request)
        action, back = form.get("action", ""), local(form.get("back", "/review"))
        try:
            if action == "undo":
                decisions = undo(review, reviewer)
            elif "number" in form:  # a rejected record
                decisions = [self._on_rejected(index, form, reviewer)]
            else:
                decisions = [_decision(index, review, form, reviewer)]
                if (
                    action == "judge"
                    and not decisions[0].value["false"]
                    and form.get("kind") in KINDS
                ):
                    decisions.append(_true_negative(index, decisions[0]))
            review.add(*decisions)
        except FdrdError as error:
            return RedirectResponse(
                with_values(back, problem=str(error), id=form.get("record", "")), 303
            )
        except OSError as error:
            problem = f"Not saved: {review.path}: {error.strerror or error}"
            return RedirectResponse(
                with_values(back, problem=problem, id=form.get("record", "")), 303
            )
        decision = decisions[0]
        if action == "undo":
            return RedirectResponse(with_values(back, saved="undo", id=decision.record), 303)
        if action in _ADVANCES:
            return RedirectResponse(with_values(back, saved=action), 303)
        if "number" in form:
            return RedirectResponse(with_values(back, saved=action), 303)
        return RedirectResponse(with_values(back, saved=action, id=decision.record), 303)

    def _on_rejected(self, index: Index, form: dict[str, str], reviewer: str) -> Decision:
        """Return the decision of a form on a rejected record.

        Raises:
            FdrdError: the list has changed, or the caption is unfit.
        """
        action, wanted = form.get("action", ""), form.get("number", "")
        for each in read_rejected(index.folder):
            if str(each.number) != wanted or each.item["key"] != form.get("key"):
                continue
            if action == "keep" and each.keepable:
                return rejected_decision(each.name, reviewer, action, each.item["reason"])
            if action == "caption" and each.captionable:
                text = " ".join(form.get("value", "").split())
                if flaw := value_flaw(action, text) or ("" if text else "the caption is empty"):
                    raise FdrdError(f"Not saved: {flaw}")
                return rejected_decision(each.name, reviewer, action, text)
        raise FdrdError("the list of rejected records has changed; reload the page")

    def _queue(self, index: Index, kind: str, rows: Indices) -> Indices:
        candidates = np.zeros(0, np.int32)
        if kind == "flagged":
            candidates = np.unique(index.columns.rows_of("flag"))
        elif kind == "mislabeled":
            candidates = self._mislabeled(index)[0]
        elif kind in ("boundary", "hardest") and self.context.runs:
            candidates = self.context.runs.missed(index, hardest=kind == "hardest")
        elif kind in JUDGED:
            candidates = np.flatnonzero(index.columns.codes[kind]).astype(np.int32)
        return queue(kind, rows, index.columns.codes["category"], candidates)

    def _mislabeled(self, index: Index) -> tuple[Indices, Indices]:
        """Return the rows that are likely mislabeled, and a better category for each; computed once for an index."""
        if self._found[0] != index.version:
            vectors, image = self.context.meaning.image_vectors(index)
            codes, groups = index.columns.codes, index.texts_of("cluster")
            image = np.where(index.columns.mask("category", [NO_CATEGORY]), -1, image)
            found = likely_mislabeled(vectors, image, codes["category"], codes["domain"], groups)
            self._found = index.version, found
        return self._found[1]

    def _better(self, index: Index, kind: str, record: Mapping[str, Any] | None) -> str | None:
        """Return the category that fits a record better; an empty text where its image has several, None if unknown."""
        if kind != "mislabeled" or record is None:
            return None
        rows, better = self._mislabeled(index)
        for code in better[rows == record["row"]].tolist():
            label = index.columns.labels["category"][code] if code >= 0 else ""
            return label.removeprefix(f"{record['domain']}: ")
        return None

    def _next(
        self, request: Request, index: Index, rows: Indices, waiting: Indices
    ) -> tuple[int | None, str]:
        """Return the row to show, and the id of the one before it in the queue.

        It is the row that is named by `id`, else the first that waits in the queue after `after`.
        """
        asked = index.record(request.query_params.get("id", ""))
        after = index.record(request.query_params.get("after", ""))
        row: int | None = asked["row"] if asked else None
        if row is None and len(waiting):
            position = np.full(index.columns.size, -1, np.int64)
            position[rows] = np.arange(len(rows))
            later = waiting[position[waiting] > position[after["row"]]] if after else waiting
            row = int((later if len(later) else waiting)[0])
        before = np.flatnonzero(rows == row)
        if row is None or not len(before) or not before[0]:
            return row, ""
        return row, str(index.records([int(rows[before[0] - 1])], spans=False)[0]["id"])


@dataclass(frozen=True, slots=True)
class Item:
    """What is judged of a record: a hard negative, or the partner of a natural pair.

    Attributes:
        kind: kind of the item, as `fdrd audit` lists it.
        item: the text of the negative, or the id of the partner.
        caption: the caption that should be false for the image of the record.
        partner: the record of the partner.
    """

    kind: str
    item: str
    caption: str
    partner: dict[str, Any] | None = None


def _has_pairs(index: Index) -> bool:
    return bool(index.columns.codes["pairs"].any())


def _item(
    index: Index, kind: str, record: dict[str, Any], judgments: Mapping[str, Set[str]]
) -> Item | None:
    """Return an item of a record that was not judged, from a random one on; None where it has none."""
    if kind == "negatives":
        items = [Item(n["kind"], n["caption"], n["caption"]) for n in record["negatives"]]
    else:
        partners = [(pair["kind"], index.record(pair["id"])) for pair in record["natural_pairs"]]
        items = [
            Item(f"natural {name} pair", partner["id"], partner["caption"], partner)
            for name, partner in partners
            if partner
        ]
    start = crc32(record["id"].encode()) % len(items) if items else 0
    items = items[start:] + items[:start]  # the first ones of all records are of one kind
    judged = judgments.get(record["id"], ())
    return next((each for each in items if each.item not in judged), items[0] if items else None)


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
    elif action == "judge":
        answers = {
            name: form.get(name) == "yes" for name in QUESTIONS if form.get(name) in ("yes", "no")
        }
        value = {"kind": form.get("kind"), "item": form.get("item"), **answers}
    elif action in ("accept", "drop"):
        value = ""
    else:
        raise FdrdError("unknown action")
    if flaw := value_flaw(action, value):
        raise FdrdError(f"Not saved: {flaw}")
    decision = new_decision(record, reviewer, action, value)
    if flaw := flaw_of(record, review.of(record["id"]), decision):
        raise FdrdError(f"Not saved: {flaw}")
    return decision


def _true_negative(index: Index, judgment: Decision) -> Decision:
    """Return the decision, made with a judgment, that a negative is true of the image and must go."""
    record = index.record(judgment.record)
    assert record is not None
    value = judgment.value["item"]
    return new_decision(record, judgment.reviewer, "negative", value, judgment.time)


def undo(review: Review, reviewer: str) -> list[Decision]:
    """Return the decisions that take back the reviewer's last one, or the last that were made at once.

    Raises:
        FdrdError: there is none.
    """
    last = review.last_of(reviewer)
    if not last:
        raise FdrdError("there is nothing to undo")
    return [Decision(d.record, d.digest, reviewer, d.time, "undo", d.action) for d in last]


def _spans_json(spans: Iterable[Attribute]) -> str:
    return json.dumps([{"type": s.type, "start": s.start, "end": s.end} for s in spans])


def _without(spans: Iterable[Attribute], removed: Attribute) -> str:
    return _spans_json(span for span in spans if span != removed)


def _retyped(spans: Iterable[Attribute], changed: Attribute, type_: str) -> str:
    return _spans_json(replace(s, type=type_) if s == changed else s for s in spans)
