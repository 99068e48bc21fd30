"""The file of decisions survives kills and several writers; queues hold each record once; agreement is counted."""

import os
import threading
from urllib.parse import parse_qsl, urlencode

import numpy as np
import pytest

from fdrd.curation.decisions import Decision, in_effect
from fdrd.errors import FdrdError
from fdrd.viewer.review import (
    JUDGED,
    QUEUES,
    Review,
    decisions_path,
    digest_of,
    krippendorff_alpha,
    queue,
)


def decision(record="1", action="accept", reviewer="ann", value=""):
    return Decision(record, "d", reviewer, "2026-01-01T00:00:00Z", action, value)


def test_what_was_added_is_read_by_another_server(tmp_path):
    one, other = Review(tmp_path / "r" / "d.jsonl"), Review(tmp_path / "r" / "d.jsonl")
    one.add(decision("1"))
    other.add(decision("2"))
    assert [each.record for each in one.decisions()] == ["1", "2"]
    assert one.decisions() == other.decisions()


def test_a_line_that_a_kill_cut_short_is_replaced_by_the_next(tmp_path):
    review = Review(tmp_path / "d.jsonl")
    review.add(decision("1"))
    with review.path.open("ab") as file:
        file.write(b'{"record": "lost"')
    assert [each.record for each in review.decisions()] == ["1"]
    review.add(decision("2"))
    assert [each.record for each in Review(review.path).decisions()] == ["1", "2"]


def test_many_writers_at_once_lose_nothing(tmp_path):
    reviews = [Review(tmp_path / "d.jsonl") for _ in range(4)]
    threads = [
        threading.Thread(target=lambda r=r, n=n: [r.add(decision(f"{n}-{i}")) for i in range(20)])
        for n, r in enumerate(reviews)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({each.record for each in reviews[0].decisions()}) == 80


def test_a_broken_line_is_named(tmp_path):
    review = Review(tmp_path / "d.jsonl")
    review.add(decision())
    review.decisions()
    with review.path.open("a") as file:
        file.write("{}\n")
    for each in (review, Review(review.path)):
        with pytest.raises(FdrdError, match=r"d\.jsonl: line 2"):
            each.decisions()


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_only_a_file_is_read(tmp_path, make):
    make(tmp_path / "d.jsonl")
    with pytest.raises(FdrdError, match="is not a file"):
        Review(tmp_path / "d.jsonl").decisions()


@pytest.mark.parametrize("count", [2, 3, 4, 9])
@pytest.mark.parametrize("how", ["renamed", "overwritten"])
def test_a_file_that_was_replaced_is_read_anew(tmp_path, count, how):
    review, other = Review(tmp_path / "d.jsonl"), Review(tmp_path / "other")
    for number in range(3):
        review.add(decision(f"old {number}"))
    assert len(review.status()) == 3
    for number in range(count):
        other.add(decision(f"new {number}", "drop"))
    if how == "renamed":
        other.path.replace(review.path)
    else:
        review.path.write_bytes(other.path.read_bytes())
    assert review.status() == {f"new {number}": "dropped" for number in range(count)}
    review.add(decision("more"))
    assert len(review.status()) == count + 1
    review.path.unlink()
    assert review.status() == {}


def test_a_decision_that_could_not_be_read_is_not_written(tmp_path):
    review = Review(tmp_path / "d.jsonl")
    for name in ("x" * 20_001, "\udcff"):
        with pytest.raises(FdrdError, match="not a decision"):
            review.add(decision(reviewer=name))
    assert not review.path.exists()


def test_the_time_for_undoing_grows_with_the_number_of_decisions():
    calls = 0

    class Counted(str):
        def __eq__(self, other):
            nonlocal calls
            calls += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    many = [decision(Counted(n), action) for action in ("accept", "undo") for n in range(300)]
    assert in_effect(many) == []
    assert calls < 2 * len(many)


def test_status_progress_and_the_last_decision(tmp_path):
    review = Review(tmp_path / "d.jsonl")
    for each in (
        *(decision("1"), decision("2", "drop"), decision("3", "caption", value="A.")),
        *(decision("4", "comment", value="?"), decision("1", "drop", "bob")),
        decision("1", "undo", "bob"),
    ):
        review.add(each)
    assert review.status() == {"1": "verified", "2": "dropped", "3": "verified"}
    assert review.progress() == {"ann": 2}
    assert [each.action for each in review.last_of("ann")] == ["comment"]
    assert review.last_of("bob") == []
    assert review.done_by("ann") == {"1", "2"}


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b"])
def test_a_review_needs_a_plain_name(tmp_path, name):
    with pytest.raises(FdrdError, match="--review"):
        decisions_path(tmp_path, name)


def test_agreement_is_that_of_a_published_example():
    # Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section B: two observers, nominal.
    values = {"one": "a a b b d c c c e d d a", "two": "b a b b b c c c e d d d"}
    verdicts = {(n, who): value for who in values for n, value in enumerate(values[who].split())}
    assert krippendorff_alpha(verdicts) == pytest.approx(0.692, abs=5e-4)
    assert krippendorff_alpha({("1", "a"): "x"}) is None


@pytest.mark.parametrize("kind", [*QUEUES])
def test_a_queue_holds_each_record_once(kind):
    rows = np.arange(3, 40, dtype=np.int32)
    category = np.arange(50, dtype=np.int32) % 5
    found = queue(kind, rows, category, np.array([30, 2, 11], np.int32))
    if kind in ("random", "stratified"):
        assert sorted(found.tolist()) == rows.tolist()
    elif kind in ("flagged", *JUDGED):
        assert sorted(found.tolist()) == [11, 30]
    else:
        assert found.tolist() == [30, 11]  # the order that its ranking gives
    if kind == "stratified":
        assert len({*category[found[:5]].tolist()}) == 5


def test_decisions_through_the_server(drawn, open_site):
    site = open_site(drawn / "set", review="server")
    index = site.context.library.current()
    record = index.records([0])[0]
    form = {"record": record["id"], "digest": digest_of(record), "back": "/review"}

    def decide(**values):
        answer = site.post("/review/decide", **{**form, **values})
        assert answer.status == 303
        return dict(parse_qsl(answer.headers["location"].partition("?")[2]))

    assert decide(action="caption", value="A blue thing.")["saved"] == "caption"
    assert "problem" in decide(action="caption", value="  ")
    assert "problem" in decide(action="attributes", value="[{}]")
    assert "problem" in decide(action="accept", digest="0" * 64)
    assert "problem" in decide(action="destroy")
    page = site.text("/review", id=record["id"])
    assert '<mark class="span type-color" title="color">blue</mark>' in page
    for action, value, problem in (
        ("category", "x" * 1001, "the category has over 1,000 characters"),
        ("comment", "x" * 20_001, "the comment has over 20,000 characters"),
        ("attributes", '[{"type": "color", "start": 0, "end": 2.0}]', "got `float`"),
        ("attributes", "[" * 20_000, "attributes are a JSON list"),
    ):
        assert problem in decide(action=action, value=value)["problem"]
    assert "The category has" not in site.text("/review", id=record["id"])
    assert decide(action="accept") == {"saved": "accept"}
    assert decide(action="undo")["id"] == record["id"]
    answer = site.post("/review/decide", action="undo", back="//evil.example")
    assert answer.headers["location"].startswith("/review")
    assert "problem" in decide(action="undo")
    actions = [each.action for each in site.context.review.decisions()]
    assert actions == ["caption", "accept", "undo", "undo"]
    assert site.ask("/review/decide", "POST", "x" * 70_000, Origin=site.base).status == 413


def test_two_reviewers_work_at_once_and_their_agreement_is_shown(drawn, open_site):
    site = open_site(drawn / "set", review="two", reviewer="ann")
    records = site.context.library.current().records(range(6))
    for number, record in enumerate(records):
        for who in ("ann", "bob"):
            action = "drop" if number == 0 or (who, number) == ("bob", 1) else "accept"
            form = {"record": record["id"], "digest": digest_of(record), "action": action}
            cookie = f"fdrd_view_{site.port}=secret-token; fdrd_reviewer={who}"
            headers = {"Origin": site.base, "Cookie": cookie}
            assert site.ask("/review/decide", "POST", urlencode(form), **headers).status == 303
    page = site.text("/review")
    assert "6 by bob" in page
    assert "Krippendorff" in page
    assert "verified" in site.text("/")
