"""Pages of a review: the queue, one record at a time, and the forms of decisions on one or on many records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl
from zlib import crc32

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from fdrd.curation.decisions import QUESTIONS, Decision, value_flaw
from fdrd.errors import FdrdError
from fdrd.record import KINDS
from fdrd.viewer import review as reviews
from fdrd.viewer.context import REVIEWER, Context
from fdrd.viewer.facets import Indices, parse_state, whole_number
from fdrd.viewer.index import Index
from fdrd.viewer.indexing import NO_CATEGORY
from fdrd.viewer.mislabeled import likely_mislabeled
from fdrd.viewer.pages import Values, choice_of, form, local, page, state_of, with_values
from fdrd.viewer.rejections import read_rejected
from fdrd.viewer.review import JUDGED, QUEUES, Review

Pairs = list[tuple[str, str]]
Fields = dict[str, str]

_QUESTIONS = {
    "false": "Is this caption false for the image?",
    "fluent": "Is it fluent English?",
    "guessable": "Can it be told from the true caption without looking?",
}
MOST = 20_000  # records that one form may decide on
_SELECTION_BYTES = 2**20
_DECIDES = {"accept": "", "drop": "", "category": "category", "tag": "tag", "untag": "tag"}
"""What can be decided for many records, and the field of the form that has its value."""
_EXPORTS = {"ids": ("text/plain", "txt"), "jsonl": ("application/x-ndjson", "jsonl")}
_NOT_EXPORTED = {"row", "shard", "place", "error"}


@page("/review")
def review_page(context: Context, request: Request) -> Response:
    """Show the record to decide on: the one that is named, or the next of the queue."""
    review = context.review
    if review is None:
        return context.page(request, "no_review.html")
    index, state = context.library.current(), state_of(request)
    reviewer = context.reviewer_of(request)
    has_pairs = index.columns.codes["pairs"].any()
    queues = {name: title for name, title in QUEUES.items() if name != "pairs" or has_pairs}
    kind = choice_of(request, "queue", queues, "random")
    rows = _queue(context, index, kind, context.selection(index, state).rows)
    judgments = review.judged_by(reviewer) if kind in JUDGED else {}
    done = index.rows_of(judgments if kind in JUDGED else review.done_by(reviewer))
    waiting = rows[~np.isin(rows, [*done.values()])]
    row, previous = _next(request, index, rows, waiting)
    values: Values = {"record": None, "item": None, "decisions": []}
    if row is not None:
        record = index.records([row])[0]
        decisions = review.of(record["id"])
        outcome = reviews.corrected(record, decisions)
        values = {
            "record": record,
            "item": _item(index, kind, record, judgments) if kind in JUDGED else None,
            "corrected": outcome.record,
            "better": _better(context, index, record) if kind == "mislabeled" else None,
            "decisions": reviews.with_reasons(decisions, outcome),
            "digest": reviews.digest_of(record),
        }
    values |= {"state": state, "kind": kind, "queues": queues, "previous": previous, "index": index}
    values |= {"review": review, "reviewer": reviewer, "questions": _QUESTIONS, "size": len(rows)}
    values |= {"left": len(waiting), "done": sum(map(len, judgments.values()))}
    return context.page(request, "judge.html" if values["item"] else "review.html", **values)


def _queue(context: Context, index: Index, kind: str, rows: Indices) -> Indices:
    candidates = np.zeros(0, np.int32)
    if kind == "flagged":
        candidates = np.unique(index.columns.rows_of("flag"))
    elif kind == "mislabeled":
        candidates = _mislabeled(context, index)[0]
    elif kind in ("boundary", "hardest") and context.runs:
        candidates = context.runs.missed(index, hardest=kind == "hardest")
    elif kind in JUDGED:
        candidates = np.flatnonzero(index.columns.codes[kind]).astype(np.int32)
    return reviews.queue(kind, rows, index.columns.codes["category"], candidates)


def _mislabeled(context: Context, index: Index) -> tuple[Indices, Indices]:
    """Return the rows that are likely mislabeled, and a better category for each; computed once for an index."""

    def compute() -> tuple[Indices, Indices]:
        vectors, image = context.meaning.image_vectors(index)
        codes, groups = index.columns.codes, index.texts_of("cluster")
        image = np.where(index.columns.mask("category", [NO_CATEGORY]), -1, image)
        return likely_mislabeled(vectors, image, codes["category"], codes["domain"], groups)

    return context.once("mislabeled", index.version, compute)


def _better(context: Context, index: Index, record: Mapping[str, Any]) -> str | None:
    """Return the category that fits a record better; an empty text where its image has several, None if unknown."""
    rows, better = _mislabeled(context, index)
    for code in better[rows == record["row"]].tolist():
        label = index.columns.labels["category"][code] if code >= 0 else ""
        return label.removeprefix(f"{record['domain']}: ")
    return None


def _next(
    request: Request, index: Index, rows: Indices, waiting: Indices
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
    """What is judged of a record: a hard negative, or the partner of a natural pair."""

    kind: str  # kind of the item, as `fdrd audit` lists it
    item: str  # the text of the negative, or the id of the partner
    caption: str  # the caption that should be false for the image of the record
    partner: dict[str, Any] | None = None  # the record of the partner


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


@form("/review/reviewer")
def set_reviewer(context: Context, request: Request, pairs: Pairs) -> Response:
    """Remember the name of the reviewer in this browser."""
    fields = dict(pairs)
    answer = RedirectResponse(local(fields.get("back", "/review")), 303)
    name = "".join(fields.get("reviewer", "").split())[:40]
    if name.isprintable() and name.isascii():
        answer.set_cookie(REVIEWER, name, max_age=10**8, httponly=True, samesite="strict")
    return answer


@form("/review/decide")
def decide(context: Context, request: Request, pairs: Pairs) -> Response:
    """Write one decision, then go on. The page that follows shows what is on the disk."""
    fields = dict(pairs)
    review, index = _writable(context), context.library.current()
    reviewer = context.reviewer_of(request)
    action, back = fields.get("action", ""), local(fields.get("back", "/review"))
    try:
        if action == "undo":
            decisions = undo(review, reviewer)
        elif "number" in fields:
            decisions = [_on_rejected(index, fields, reviewer)]
        else:
            decisions = _on_record(index, review, fields, reviewer)
        review.add(*decisions)
    except (FdrdError, OSError) as error:
        problem = str(error)
        if isinstance(error, OSError):
            problem = f"Not saved: {review.path}: {error.strerror or error}"
        return _back(back, problem=problem, id=fields.get("record", ""))
    goes_on = action in ("accept", "drop", "judge") or (action != "undo" and "number" in fields)
    return _back(back, saved=action, id="" if goes_on else decisions[0].record)


def _back(url: str, **values: str) -> Response:
    return RedirectResponse(with_values(url, **values), 303)


def _writable(context: Context) -> Review:
    if context.review is None:
        raise HTTPException(403, "This server has no --review, so nothing can be written.")
    return context.review


def _on_rejected(index: Index, fields: Fields, reviewer: str) -> Decision:
    """Return the decision to keep a rejected record after all, or to give it a caption."""
    action = fields.get("action", "")
    for each in read_rejected(index.folder):
        if str(each.number) != fields["number"] or each.item["key"] != fields.get("key"):
            continue
        if action == "keep" and each.keepable:
            return Decision(each.name, "", reviewer, reviews.now(), action, each.item["reason"])
        if action == "caption" and each.captionable:
            text = " ".join(fields.get("value", "").split())
            if flaw := value_flaw(action, text) or ("" if text else "the caption is empty"):
                raise FdrdError(f"Not saved: {flaw}")
            return Decision(each.name, "", reviewer, reviews.now(), action, text)
    raise FdrdError("the list of rejected records has changed; reload the page")


def _on_record(index: Index, review: Review, fields: Fields, reviewer: str) -> list[Decision]:
    """Return the decision of a form; a negative that is true of the image goes at the same time."""
    record = index.record(fields.get("record", ""))
    if record is None or fields.get("digest") != reviews.digest_of(record):
        raise FdrdError("the record has changed since the page was loaded; look at it again")
    action = fields.get("action", "")
    value = _value(action, fields)
    if flaw := value_flaw(action, value):
        raise FdrdError(f"Not saved: {flaw}")
    decision = reviews.new_decision(record, reviewer, action, value)
    if flaw := reviews.flaw_of(record, review.of(record["id"]), decision):
        raise FdrdError(f"Not saved: {flaw}")
    if action == "judge" and not value["false"] and fields.get("kind") in KINDS:
        item = reviews.new_decision(record, reviewer, "negative", value["item"], decision.time)
        return [decision, item]
    return [decision]


def _value(action: str, fields: Fields) -> Any:
    """Return the value of a decision that a form makes."""
    text = fields.get("value", "").replace("\r\n", "\n").strip()
    if action in ("caption", "category", "negative", "comment"):
        if not text:
            raise FdrdError(f"the {action} is empty")
        return text
    if action == "attributes":
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise FdrdError("attributes are a JSON list") from None
    if action == "judge":
        answered = [name for name in QUESTIONS if fields.get(name) in ("yes", "no")]
        answers = {name: fields[name] == "yes" for name in answered}
        return {"kind": fields.get("kind"), "item": fields.get("item"), **answers}
    if action in ("accept", "drop"):
        return ""
    raise FdrdError("unknown action")


def undo(review: Review, reviewer: str) -> list[Decision]:
    """Return the decisions that take back the reviewer's last one, or the last that were made at once."""
    last = review.last_of(reviewer)
    if not last:
        raise FdrdError("there is nothing to undo")
    return [Decision(d.record, d.digest, reviewer, d.time, "undo", d.action) for d in last]


@form("/select", _SELECTION_BYTES)
def act_on_selection(context: Context, request: Request, pairs: Pairs) -> Response:
    """Decide on the selected records, or export them."""
    fields, index = dict(pairs), context.library.current()
    action, back = fields.get("action", ""), local(fields.get("back", "/"))
    try:
        if action == "undo":
            decisions = undo(_writable(context), context.reviewer_of(request))
            _writable(context).add(*decisions)
            return _back(back, saved=f"undid {_records(decisions)}")
        rows = _selected(context, index, fields, [text for name, text in pairs if name == "row"])
        if action in _EXPORTS:
            return _export(index, rows, action)
        saved, problem = _decide_on_all(context, request, index, rows, fields)
    except FdrdError as error:
        return _back(back, problem=str(error))
    except OSError as error:
        return _back(back, problem=f"Not saved: {error}")
    return _back(back, saved=saved, problem=problem)


def _selected(context: Context, index: Index, fields: Fields, listed: Sequence[str]) -> Indices:
    """Return the selected rows: those that are listed, or all that the address of the page selects."""
    if fields.get("version") != index.version:
        raise FdrdError("the dataset has changed since the page was loaded; select again")
    if fields.get("all"):
        _, _, query = fields.get("back", "").partition("?")
        rows = context.selection(index, parse_state(parse_qsl(query))).rows
    else:
        size = index.columns.size
        known = {row for text in listed if (row := whole_number(text, size)) is not None}
        rows = np.array(sorted(known - {size}), np.int32)
    if not len(rows):
        raise FdrdError("no record is selected")
    return rows


def _decide_on_all(
    context: Context, request: Request, index: Index, rows: Indices, fields: Fields
) -> tuple[str, str]:
    """Write one decision on each row; return what was saved, and what was not and why."""
    review, action = _writable(context), fields.get("action", "")
    if action not in _DECIDES:
        raise FdrdError("unknown action")
    if len(rows) > MOST:
        raise FdrdError(f"{len(rows):,} records are selected; decide on at most {MOST:,} at once")
    value, field = "", _DECIDES[action]
    if field:
        value = " ".join(fields.get(field, "").split())
        if flaw := value_flaw(action, value) or (not value and f"the {field} is empty"):
            raise FdrdError(f"Not saved: {flaw}")
    reviewer, time, decisions = context.reviewer_of(request), reviews.now(), []
    refused: list[str] = []
    for record in index.stream(rows):
        decision = reviews.new_decision(record, reviewer, action, value, time)
        if flaw := reviews.flaw_of(record, review.of(record["id"]), decision):
            refused.append(flaw)
        else:
            decisions.append(decision)
    if decisions:
        review.add(*decisions)
    done = f"{action} {value}" if value else action
    saved = f"{done}: {_records(decisions)}" if decisions else ""
    return saved, f"Not saved: {len(refused):,}, e.g. {refused[0]}" if refused else ""


def _records(decisions: Sequence[Decision]) -> str:
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
