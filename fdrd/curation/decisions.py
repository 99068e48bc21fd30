"""Reviewers' decisions on records: their file form, and what a build does with them.

A review is an append-only file with one JSON object per line. Decisions apply in file order. Each one carries the
digest of the content that the reviewer saw. A decision on other content is stale: it is reported and not applied.
"""

import hashlib
import json
import stat
from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from msgspec import Struct, ValidationError, convert
from msgspec.structs import replace

from fdrd.curation.pair_table import SourceContents, SourceWriter
from fdrd.errors import FdrdError, first_line
from fdrd.reasons import (
    CAPTION_FROM_REVIEW,
    DROPPED_IN_REVIEW,
    KEPT_IN_REVIEW,
    NOT_SELECTED,
    reject,
)
from fdrd.record import SPLITS, Attribute, Record
from fdrd.sources.reading.names import MAX_CAPTION, MAX_NAME
from fdrd.sources.reading.pairs import MAX_LISTED
from fdrd.text.attributes import TYPES, find_attributes
from fdrd.text.markup import is_unicode
from fdrd.text.normalize import (
    MAX_MARKS,
    has_too_many_marks,
    normalize_category,
    normalize_described,
)

NOTES = frozenset({"comment", "judge", "tag", "untag"})
"""Actions that say something about a record and change nothing in a build."""
QUESTIONS = ("false", "fluent", "guessable")
"""What `judge` answers about a hard negative or the other caption of a natural pair."""
CORRECTIONS = frozenset({"caption", "category", "attributes", "negative"})
ACTIONS = NOTES | CORRECTIONS | {"accept", "drop", "keep", "undo"}
MAX_BYTES = 2**30  # size of a file of decisions: some millions of them
_LONGEST = 200  # characters of a message, which may repeat any part of a line


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision of one reviewer.

    Attributes:
        record: id of the record; for `keep`, and for `caption` of an image that has none, `file: key` of the rejected
            record.
        digest: of the content that was seen (`content_digest`); for a rejected record, empty.
        reviewer: who decided.
        time: when, as ISO 8601 in UTC.
        action: one of `ACTIONS`.
        value: the new caption, the new category, all attribute spans as `{type, start, end}`, the negative that is
            true, the reason that `keep` overrides, the comment, the tag, or
            for `judge` an object with `kind`, `item` (the negative, or the id of the partner) and an answer to each of
            `QUESTIONS`. Empty for the others.
    """

    record: str
    digest: str
    reviewer: str
    time: str
    action: str
    value: Any = ""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What a review did with the items of a source."""

    true_negatives: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """by image digest, texts that reviewers found to be true of the image"""
    applied: int = 0  # number of decisions that took effect
    stale: list[tuple[Decision, str]] = field(default_factory=list)
    """decisions that did not, each with the reason"""
    verified: frozenset[str] = frozenset()
    """ids of the records that a reviewer accepted or corrected"""


def content_digest(image: str, caption: str, category: str, attributes: Iterable[Attribute]) -> str:
    """Return the digest of what a reviewer sees of a record; `image` is the digest of the image's bytes."""
    spans = [[span.type, span.start, span.end] for span in attributes]
    content = json.dumps([image, caption, category, spans], ensure_ascii=False)
    return hashlib.sha256(content.encode("utf-8", "backslashreplace")).hexdigest()


def parse_decisions(data: bytes, first: int = 1) -> list[Decision]:
    """Parse lines of decisions, numbered from `first`. An unfinished last one was never acknowledged and is ignored."""
    lines = data.split(b"\n")[:-1]
    return [_parse_line(line, n) for n, line in enumerate(lines, first) if line]


def read_decisions(path: Path) -> tuple[list[Decision], str]:
    """Read a file of decisions; return them with the digest of the file."""
    whole = whole_lines(read_file(path, "`fdrd view --review` writes one"))
    try:
        return parse_decisions(whole), hashlib.sha256(whole).hexdigest()
    except FdrdError as error:
        raise FdrdError(f"{path}: {error}") from None


def read_selection(path: Path) -> tuple[frozenset[str], str]:
    """Read a file of record ids; return them with the digest of the file.

    A line is an id, an id as JSON, or a JSON object with an `id`, as `fdrd view` exports a selection. Raise `FdrdError`
    if the file cannot be read, a line has no id, or there is none.
    """
    data = read_file(path, "`fdrd view` exports a selection of records")
    ids = set()
    for index, line in enumerate(data.split(b"\n"), 1):
        if not (text := line.strip()):
            continue
        try:
            found: Any = json.loads(text) if text[:1] in b'{"' else text.decode()
            found = found["id"] if isinstance(found, dict) else found
            if not isinstance(found, str):
                raise TypeError("the id is not a string")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            reason = first_line(error)[:_LONGEST]
            raise FdrdError(f"{path}: line {index} names no record ({reason})") from None
        ids.add(found)
    if not ids:
        raise FdrdError(f"{path} names no record; `fdrd view` exports a selection of records")
    return frozenset(ids), hashlib.sha256(data).hexdigest()


def whole_lines(data: bytes) -> bytes:
    """Return data without an unfinished last line."""
    return data[: data.rfind(b"\n") + 1]


def read_file(path: Path, remedy: str) -> bytes:
    """Read a file of at most `MAX_BYTES`, but no device or pipe, which may never end; raise `FdrdError`."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
            raise FdrdError(f"{path} is not a file of at most {MAX_BYTES:,} bytes; {remedy}")
        return path.read_bytes()
    except OSError as error:
        raise FdrdError(f"{path}: {error.strerror}; {remedy}") from None


def to_line(decision: Decision) -> bytes:
    """Return a decision as one line of its file."""
    line = json.dumps(asdict(decision), ensure_ascii=False)
    return f"{line}\n".encode("utf-8", "backslashreplace")


def in_effect(decisions: Iterable[Decision]) -> list[Decision]:
    """Return the decisions that were not undone. `undo` takes back the reviewer's last one on the record."""
    kept: dict[int, Decision] = {}
    by_reviewer: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, decision in enumerate(decisions):
        indices = by_reviewer[decision.record, decision.reviewer]
        if decision.action != "undo":
            kept[index] = decision
            indices.append(index)
        elif indices:
            del kept[indices.pop()]
    return list(kept.values())


def value_flaw(action: str, value: Any) -> str:
    """Return what is wrong with a value whatever the record, or an empty text. Limits are those of sources."""
    if action == "attributes":
        if not isinstance(value, list):
            return "attributes are a list of {type, start, end}"
        return f"over {MAX_LISTED:,} attributes" if len(value) > MAX_LISTED else ""
    if action == "judge":
        fits = isinstance(value, dict) and value.keys() == {"kind", "item", *QUESTIONS}
        if not fits or not all(isinstance(value[name], bool) for name in QUESTIONS):
            return "a judgment is an object with kind, item, and true or false for each question"
        return value_flaw("tag", value["kind"]) or value_flaw("comment", value["item"])
    if not isinstance(value, str):
        return f"the value is a {type(value).__name__}, not a string"
    most = MAX_NAME if action in ("category", "keep", "tag", "untag") else MAX_CAPTION
    if len(value) > most:
        return f"the {action} has over {most:,} characters"
    if not is_unicode(value):
        return f"the {action} is not valid Unicode"
    if has_too_many_marks(value):
        return f"the {action} has over {MAX_MARKS:,} combining marks in a row"
    return ""


def apply_to_record(record: Record, decision: Decision) -> Record:
    """Return the record with one correction applied; raise `FdrdError` if it does not fit."""
    value = decision.value
    if flaw := value_flaw(decision.action, value):
        raise FdrdError(flaw)
    match decision.action:
        case "caption":
            if not (caption := normalize_described(value, record.category)[0]):
                raise FdrdError("the new caption is empty")
            attributes = find_attributes(caption, record.category)
            return replace(record, caption=caption, attributes=attributes)
        case "category":
            if not (category := normalize_category(value)[0]):
                raise FdrdError("the new category is empty")
            return replace(record, category=category, negatives=())
        case "attributes":
            return replace(record, attributes=_spans(value, record.caption))
        case "negative":
            kept = tuple(each for each in record.negatives if each.caption != value)
            return replace(record, negatives=kept)
    return record


def written_captions(decisions: Iterable[Decision]) -> dict[str, str]:
    """Return the captions that reviewers wrote for images without one, by `file: key`; the last one counts."""
    _, _, written = _grouped(decisions, [])
    return {key: several[-1].value for key, several in written.items()}


def review(
    contents: SourceContents,
    decisions: Iterable[Decision],
    into: SourceWriter,
    only: Set[str] | None = None,
) -> Reviewed:
    """Apply decisions in file order to the items of a source, before splits and duplicates are decided.

    `into` takes the items in the same order. Dropped records become rejections, and so do those that `only` lacks.
    Raise `FdrdError` if the source has no record with one of the ids.
    """
    stale: list[tuple[Decision, str]] = []
    of_record, kept_after_all, written = _grouped(decisions, stale)
    names = contents.records.table("domain", "category", "meta_category")
    metas = {
        (domain, category): meta
        for batch in names.to_batches()
        for domain, category, meta in zip(*(each.to_pylist() for each in batch), strict=True)
    }
    applied, verified = 0, set()
    digests = [each.check.sha256 for each in contents.images]
    true_texts: dict[str, list[str]] = defaultdict(list)
    unknown = set(only or ())
    for item, index in contents.items():
        if isinstance(item, Record):
            image = digests[index]
            outcome = review_record(item, image, of_record.pop(item.id, ()))
            unknown.discard(item.id)
            stale.extend(outcome.stale)
            applied += len(outcome.applied)
            if any(each.action in CORRECTIONS | {"accept"} for each in outcome.applied):
                verified.add(item.id)
            for each in outcome.applied:
                if each.action == "negative":
                    true_texts[image].append(each.value)
            if CAPTION_FROM_REVIEW in item.rules:
                applied += len(written.pop(_key(item), ()))
                verified.add(item.id)
            if outcome.dropped:
                verified.discard(item.id)
                item = reject(item, DROPPED_IN_REVIEW, f"{item.image}: {outcome.dropped.reviewer}")
            elif only is not None and item.id not in only:
                verified.discard(item.id)
                item = reject(item, NOT_SELECTED, f"{item.image}: {item.id}")
            else:
                meta = metas.get((item.domain, outcome.record.category), item.meta_category)
                item = replace(outcome.record, meta_category=meta)
                if keeps := kept_after_all.pop(_key(item), None):
                    applied += len(keeps)
                    item = replace(item, rules=(*item.rules, KEPT_IN_REVIEW))
        into.add(item, index)
    if unknown:
        raise FdrdError(
            f"`only`: the source lacks {len(unknown):,} of the {len(only or ()):,} records, e.g. "
            f"{min(unknown)[:_LONGEST]!r}; select the records again from a dataset of this source"
        )
    left = chain(of_record.values(), kept_after_all.values(), written.values())
    stale.extend((each, "the source has no such record") for each in chain.from_iterable(left))
    texts = {image: tuple(dict.fromkeys(several)) for image, several in true_texts.items()}
    return Reviewed(texts, applied, stale, frozenset(verified))


_Decisions = dict[str, list[Decision]]


def _grouped(
    decisions: Iterable[Decision], stale: list[tuple[Decision, str]]
) -> tuple[_Decisions, _Decisions, _Decisions]:
    """Return decisions on records by id; those that keep, and those that caption, rejected ones by `file: key`."""
    of_record: _Decisions = defaultdict(list)
    kept_after_all: _Decisions = defaultdict(list)
    written: _Decisions = defaultdict(list)
    for decision in in_effect(decisions):
        if decision.action == "keep":
            group = kept_after_all
        else:
            group = of_record if decision.action != "caption" or decision.digest else written
        if group is not of_record and (flaw := value_flaw(decision.action, decision.value)):
            stale.append((decision, flaw))
        elif decision.action not in NOTES:
            group[decision.record].append(decision)
    return of_record, kept_after_all, written


def _key(record: Record) -> str:
    """Return `file: key` of a record, as its rejection has them."""
    file, _, key = record.source.origin.partition(": ")
    return f"{file}: {key}"


def review_counts(digest: str, reviewed: Reviewed, kept: Iterable[Record]) -> dict[str, Any]:
    """Return what the manifest says about a review: digest of its file, counts, verified records."""
    verified: dict[str, dict[str, int]] = {}
    for record in kept:
        if record.id in reviewed.verified:
            of_domain = verified.setdefault(record.domain, dict.fromkeys(SPLITS, 0))
            of_domain[record.split] += 1
    return {
        "sha256": digest,
        "applied": reviewed.applied,
        "stale": len(reviewed.stale),
        "verified": {domain: verified[domain] for domain in sorted(verified)},
    }


@dataclass(slots=True)
class Outcome:
    """A record after its decisions: what was applied, what was not and the reason, and the decision that drops it."""

    record: Record
    applied: list[Decision] = field(default_factory=list)
    stale: list[tuple[Decision, str]] = field(default_factory=list)
    dropped: Decision | None = None


def review_record(record: Record, image: str, decisions: Iterable[Decision]) -> Outcome:
    """Apply decisions to one record. Each must have seen the record at some point of the chain of corrections."""

    def digest_of(each: Record) -> str:
        return content_digest(image, each.caption, each.category, each.attributes)

    outcome, seen = Outcome(record), {digest_of(record)}
    for decision in decisions:
        if decision.digest not in seen:
            outcome.stale.append((decision, "the record has changed since it was seen"))
            continue
        try:
            outcome.record = apply_to_record(outcome.record, decision)
        except FdrdError as error:
            outcome.stale.append((decision, str(error)))
            continue
        seen.add(digest_of(outcome.record))
        if decision.action in ("accept", "drop"):  # the last verdict counts
            outcome.dropped = decision if decision.action == "drop" else None
        outcome.applied.append(decision)
    return outcome


class _Span(Struct, frozen=True, order=True):
    start: int
    end: int
    type: str


def _spans(value: Any, caption: str) -> tuple[Attribute, ...]:
    """Return the attributes of a decision, sorted. Raise `FdrdError` if they are not separate spans of the caption."""
    try:
        spans = sorted(convert(value, list[_Span]))
    except ValidationError as error:
        raise FdrdError(f"attributes are a list of {{type, start, end}} ({error})") from None
    attributes, end = [], 0
    for span in spans:
        if span.type not in TYPES:
            raise FdrdError(
                f"unknown attribute type {span.type[:80]!r}; known are {', '.join(TYPES)}"
            )
        if not end <= span.start < span.end <= len(caption):
            raise FdrdError("a span is empty, overlaps another, or leaves the caption")
        text = caption[span.start : span.end]
        attributes.append(Attribute(span.type, text, span.start, span.end))
        end = span.end
    return tuple(attributes)


def _parse_line(line: bytes, index: int) -> Decision:
    try:
        decision = Decision(**json.loads(line))
        texts = [decision.record, decision.digest, decision.reviewer, decision.time]
        if not all(isinstance(text, str) for text in texts) or decision.action not in ACTIONS:
            raise ValueError("a field has the wrong type, or the action is unknown")
        if max(map(len, texts)) > MAX_CAPTION:
            raise ValueError(f"a field has over {MAX_CAPTION:,} characters")
        if not is_unicode(decision.reviewer):
            raise ValueError("the reviewer is not valid Unicode")
    except (ValueError, TypeError, RecursionError) as error:
        reason = first_line(error)[:_LONGEST]
        raise FdrdError(f"line {index} is not a decision ({reason})") from None
    return decision


ReviewedShare = tuple[str, str, list[int], list[int]]
"""A kind of items, e.g. `attribute` or `natural category pair`, a question, and by record the yeses and all answers."""


def judged(decisions: Iterable[Decision]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Return the last judgment by (record, item, reviewer); those with an unfit value are left out."""
    return {
        (each.record, each.value["item"], each.reviewer): each.value
        for each in decisions
        if each.action == "judge" and not value_flaw("judge", each.value)
    }


def reviewed_shares(
    decisions: Iterable[Decision], items: Mapping[str, Set[str]]
) -> list[ReviewedShare]:
    """Return the answers of reviewers by kind and question. The answers change nothing in a build.

    `items` has, by record id, the texts of negatives and the ids of partners that count.
    """
    by_kind: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for (record, item, _), value in judged(decisions).items():
        if item in items.get(record, ()):
            by_kind.setdefault(value["kind"], {}).setdefault(record, []).append(value)
    shares: list[ReviewedShare] = []
    for kind, records in sorted(by_kind.items()):
        count = list(map(len, records.values()))
        for question in QUESTIONS:
            yes = [sum(value[question] for value in each) for each in records.values()]
            shares.append((kind, question, yes, count))
    return shares
