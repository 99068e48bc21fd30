"""Reviewers' decisions: what a build applies, what it reports as stale, and that its bytes stay reproducible."""

import json
import os
from dataclasses import asdict, replace

import pytest
from msgspec import structs

from fdrd.build_config import BuildConfig
from fdrd.checks.audits import dataset_records
from fdrd.checks.validation import validate
from fdrd.curation.decisions import (
    Decision,
    content_digest,
    in_effect,
    parse_decisions,
    read_decisions,
    review,
    to_line,
)
from fdrd.curation.pair_table import SourceWriter
from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build
from fdrd.reasons import Rejection
from fdrd.record import Attribute, ImageRef, Record, Source
from fdrd.storage.manifest import read_manifest
from tests.curated import contents_of

CONFIG = BuildConfig(shard_bytes=800)


def seen(record):
    return content_digest(record.source.sha256, record.caption, record.category, record.attributes)


def decide(record, action, value="", reviewer="ann", digest=None):
    made = seen(record) if digest is None else digest
    return Decision(record.id, made, reviewer, "2026-01-01T00:00:00Z", action, value)


def write(path, *decisions):
    path.write_bytes(b"".join(map(to_line, decisions)))
    return path


def records_of(folder):
    return {record.id: record for record in dataset_records(folder)[0]}


def shard_bytes(folder):
    return [(folder / each.path).read_bytes() for each in read_manifest(folder).shards]


SOURCE, RED = Source("1.jpg", "d" * 64, origin="x.json: 1"), Attribute("color", "red", 2, 5)
PAIR = Record("1", ImageRef("1.jpg"), "A red cat.", "cat", SOURCE, "d", attributes=(RED,))


def reviewed(tmp_path, *decisions):
    """Return the items after a review, and what it found."""
    with contents_of([PAIR], tmp_path) as contents, SourceWriter(tmp_path / "reviewed") as into:
        found = review(contents, decisions, into)
        return [item for item, _ in into.finish("", contents.images).items()], found


def test_a_build_applies_each_kind_of_decision(birds, tmp_path):
    build(birds, tmp_path / "out", config=CONFIG, workers=1)
    before = records_of(tmp_path / "out")
    several = [record for record in before.values() if record.negatives]
    edited, moved, dropped, accepted, wrong, marked = several[:6]
    file = write(
        tmp_path / "decisions.jsonl",
        decide(edited, "caption", f"A  green {edited.category} on a wooden bench."),
        decide(moved, "category", "crow"),
        decide(dropped, "drop"),
        decide(accepted, "accept"),
        decide(wrong, "negative", wrong.negatives[0].caption),
        decide(marked, "attributes", []),
    )
    built = build(birds, tmp_path / "out", config=CONFIG, decisions=file, workers=1)
    after = records_of(tmp_path / "out")
    assert after[edited.id].caption == f"A green {edited.category} on a wooden bench."
    assert {"green", "wooden"} <= {span.value for span in after[edited.id].attributes}
    assert after[edited.id].negatives != edited.negatives
    assert after[moved.id].category == "crow"
    assert dropped.id not in after
    assert after[accepted.id].caption == accepted.caption
    assert wrong.negatives[0].caption not in {each.caption for each in after[wrong.id].negatives}
    assert len(after[wrong.id].negatives) <= len(wrong.negatives)  # if no other swap is plausible
    assert after[marked.id].attributes == ()
    entry = built.manifest.decisions
    assert (entry.applied, entry.stale) == (6, 0)
    assert sum(sum(splits.values()) for splits in entry.verified.values()) == 5
    assert built.manifest.rejected["dropped_in_review"] == 1
    assert "Verified by reviewers" in (tmp_path / "out" / "README.md").read_text()
    assert list(validate(tmp_path / "out")) == []


def test_decisions_are_reproducible_and_reversible(birds, tmp_path):
    build(birds, tmp_path / "plain", config=CONFIG, workers=1)
    record = next(iter(records_of(tmp_path / "plain").values()))
    file = write(tmp_path / "decisions.jsonl", decide(record, "caption", "A blue wren."))
    first = build(birds, tmp_path / "one", config=CONFIG, decisions=file, workers=1)
    second = build(birds, tmp_path / "two", config=CONFIG, decisions=file, workers=1)
    assert first.manifest == second.manifest
    assert shard_bytes(tmp_path / "one") == shard_bytes(tmp_path / "two")
    assert build(birds, tmp_path / "one", config=CONFIG, decisions=file, workers=1).nothing_to_do
    again = build(birds, tmp_path / "one", config=CONFIG, workers=1)
    assert again.manifest.decisions is None
    assert shard_bytes(tmp_path / "one") == shard_bytes(tmp_path / "plain")


def test_a_reviewer_can_keep_a_rejected_record(birds, tmp_path):
    config = replace(CONFIG, min_side=17)  # the images are 24 by 16
    with pytest.raises(FdrdError, match="records were rejected"):
        build(birds, tmp_path / "out", config=config, workers=1)
    listed = (tmp_path / "out.work" / "rejected.jsonl").read_text().splitlines()
    first = Rejection(**json.loads(listed[0]))
    keep = Decision(f"{first.file}: {first.key}", "", "ann", "", "keep", first.reason)
    file = write(tmp_path / "decisions.jsonl", keep)
    built = build(birds, tmp_path / "out", config=config, decisions=file, workers=1)
    assert built.manifest.records.kept == 1
    assert built.manifest.rules["kept_in_review"] == 1
    assert built.manifest.reported["image_too_small"] == 1


def test_successive_corrections_may_refer_to_the_first_or_a_later_state(tmp_path):
    first = decide(PAIR, "caption", "A blue cat.")
    changed = structs.replace(
        PAIR, caption="A blue cat.", attributes=(Attribute("color", "blue", 2, 6),)
    )
    second = decide(changed, "attributes", [{"type": "color", "start": 2, "end": 6}])
    third = decide(PAIR, "category", "kitten")
    (record,), found = reviewed(tmp_path, first, second, third)
    assert (record.caption, record.category, found.stale) == ("A blue cat.", "kitten", [])


def test_the_last_decision_wins(tmp_path):
    drop, accept = decide(PAIR, "drop"), decide(PAIR, "accept", reviewer="bob")
    (item,), _ = reviewed(tmp_path, accept, drop)
    assert isinstance(item, Rejection)
    items, found = reviewed(tmp_path, drop, accept)
    assert (items, found.verified) == ([PAIR], {"1"})


def test_undo_reverts_the_last_decision_of_that_reviewer_on_that_record():
    edit, drop, undo = (decide(PAIR, *a) for a in (("caption", "B."), ("drop",), ("undo",)))
    other = decide(PAIR, "accept", reviewer="bob")
    assert in_effect([edit, drop, other, undo]) == [edit, other]
    assert in_effect([undo]) == []


def span(kind, start, end):
    return {"type": kind, "start": start, "end": end}


TYPES = [None, True, 7, 1e400, [], ["a", {"b": 1}], {"a": 1}, 10**30]
TEXTS = ("caption", "category", "negative", "drop", "accept")
WRONG = [
    *((action, value, "not a string") for action in TEXTS for value in TYPES),
    *(("attributes", value, "attributes are a list") for value in TYPES if value != []),
    ("attributes", "red", "attributes are a list"),
    ("attributes", [span("color", 2, 99)], "leaves the caption"),
    ("attributes", [span("color", 0, 4), span("size", 2, 5)], "overlaps another"),
    ("attributes", [span("mood", 0, 1)], "unknown attribute type"),
    ("attributes", [span("color", 1e400, 2)], "attributes are a list"),
    ("attributes", [span("color", 2, 10**400)], "leaves the caption"),
    ("attributes", [span("\ud800", 2, 5)], "unknown attribute type"),
    ("attributes", [span("color", 2, 5)] * 1001, "over 1,000 attributes"),
    ("caption", "a \ud800 wren", "not valid Unicode"),
    ("category", "wren \udfff", "not valid Unicode"),
    ("category", "x" * 1001, "over 1,000 characters"),
    ("caption", "x" * 20_001, "over 20,000 characters"),
    ("negative", "x" * 20_001, "over 20,000 characters"),
    ("caption", "e" + "\u0301" * 1001, "combining marks"),
]


@pytest.mark.parametrize(("action", "value", "reason"), WRONG)
def test_a_value_of_the_wrong_type_or_length_is_refused(tmp_path, action, value, reason):
    made = decide(PAIR, action, value)
    (tmp_path / "d.jsonl").write_text(json.dumps(asdict(made)) + "\n")
    decisions, _ = read_decisions(tmp_path / "d.jsonl")
    items, found = reviewed(tmp_path, *decisions)
    assert items == [PAIR]
    ((_, why),) = found.stale
    assert reason in why
    assert len(why) < 400
    assert (found.applied, found.verified, found.true_negatives) == (0, frozenset(), {})


def test_values_at_the_limits_are_applied(tmp_path):
    longest = decide(PAIR, "category", "x" * 1000), decide(PAIR, "caption", "y" * 20_000)
    (record,), found = reviewed(tmp_path, *longest)
    assert (len(record.category), len(record.caption), found.stale) == (1000, 20_000, [])


def test_the_reason_to_keep_a_record_is_a_text(tmp_path):
    keep = [Decision("x.json: 1", "", "ann", "", "keep", value) for value in (None, "too_short")]
    (record,), found = reviewed(tmp_path, *keep)
    assert (found.applied, record.rules) == (1, ("kept_in_review",))
    assert [why for _, why in found.stale] == ["the value is a NoneType, not a string"]


@pytest.mark.parametrize("name", ["/dev/full", "/dev/zero", "folder", "pipe", "none", "huge"])
def test_decisions_come_from_a_file(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", 2**30 + 1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FdrdError, match="`fdrd view --review` writes") as error:
        read_decisions(tmp_path / name)
    assert "\n" not in str(error.value)


def line_of(**values):
    return json.dumps(
        {"record": "", "digest": "", "reviewer": "", "time": "", "action": "drop", **values}
    )


@pytest.mark.parametrize(
    "line",
    [
        *(
            "[]",
            "7",
            '{"record": 1e400}',
            "[" * 100_000,
            '{"record": ' + "9" * 5000 + "}",
            "\udcff",
        ),
        *('{"' + "x" * 50_000 + '": 1}', line_of(reviewer="\ud800"), line_of(action=["drop"])),
        *(line_of(record="x" * 20_001), line_of(time=None)),
    ],
)
def test_a_line_that_is_no_decision_is_named_in_one_line(tmp_path, line):
    (tmp_path / "d.jsonl").write_bytes(line.encode("utf-8", "surrogateescape") + b"\n")
    with pytest.raises(FdrdError, match="line 1 is not a decision") as error:
        read_decisions(tmp_path / "d.jsonl")
    assert len(str(error.value).removeprefix(str(tmp_path))) < 300
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (decide(structs.replace(PAIR, id="2"), "drop"), "the source has no such record"),
        (decide(PAIR, "drop", digest="0" * 64), "the record has changed since it was seen"),
    ],
)
def test_a_decision_that_does_not_fit_is_reported_but_not_applied(tmp_path, made, reason):
    items, found = reviewed(tmp_path, made)
    assert (items, [why for _, why in found.stale]) == ([PAIR], [reason])


def test_a_truncated_last_line_is_ignored_but_an_invalid_line_is_an_error(tmp_path):
    line = to_line(decide(PAIR, "accept"))
    assert len(parse_decisions(line + line[:20])) == 1
    (tmp_path / "d.jsonl").write_bytes(line + b'{"record": 1}\n')
    with pytest.raises(FdrdError, match="line 2 is not a decision"):
        read_decisions(tmp_path / "d.jsonl")
