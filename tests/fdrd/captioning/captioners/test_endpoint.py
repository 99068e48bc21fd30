"""A server with faults: what is asked, kept, counted, spent and shown."""

import io
import json
import logging
import signal
import threading
import time

import pytest
from PIL import Image

from fdrd.captioning import AnswerCache, Failure, Spending
from fdrd.captioning.captioners.endpoint import endpoint
from fdrd.captioning.pictures import find_pictures
from fdrd.captioning.rounds import Desk, Plan
from fdrd.captioning.run import estimate, run
from fdrd.errors import FdrdError


def caption(raw, chat, *, plan=None, budget=None, evaluator=None, sample=None, **options):
    """One run; the files lie beside the source."""
    spending = Spending(budget)
    found = find_pictures(raw, 10**6)
    with AnswerCache(raw.parent / "answers.sqlite") as cache:
        asked = {"model": "m", "url": chat.url, "timeout": 30.0, **options}
        desk = Desk(endpoint(spending, **asked), evaluator, None, cache)
        out = raw.parent / "captioned"
        done = run(raw, out, found, found.pictures[:sample], plan or Plan(), desk, spending)
    return done, desk, spending


def failed(done):
    return done.summary["rejected"]


@pytest.fixture
def quick(monkeypatch):
    """No second is waited between attempts, but where the server asks for it."""
    import tenacity

    monkeypatch.setattr(tenacity, "wait_exponential_jitter", lambda **_: tenacity.wait_none())


def test_every_picture_is_asked_about_once_and_a_rerun_asks_nothing(raw, chat):
    done, desk, spending = caption(raw, chat)
    assert done.summary["kept"] == 12
    assert len(chat.asked) == len(set(chat.asked)) == 12
    assert (spending.input_tokens, spending.output_tokens) == (12_000, 240)
    written = (raw.parent / "captioned" / "raw" / "captions.json").read_bytes()
    again, desk, _ = caption(raw, chat)
    assert (len(chat.asked), desk.drafts.cached, desk.drafts.answered) == (12, 12, 0)
    assert again.summary == done.summary
    assert (raw.parent / "captioned" / "raw" / "captions.json").read_bytes() == written


def test_equal_pictures_are_asked_about_once(raw, chat):
    copy = raw / "house wren" / "copy.png"
    copy.write_bytes((raw / "house wren" / "000.png").read_bytes())
    done, _, _ = caption(raw, chat)
    assert (done.summary["kept"], len(chat.asked)) == (13, 12)


def test_what_leaves_the_machine_is_a_picture_without_its_metadata(raw, chat):
    Image.new("RGB", (900, 300)).save(raw / "robin" / "large.png")
    caption(raw, chat, max_side=300)
    sizes = set()
    for data in chat.pictures:
        with Image.open(io.BytesIO(data)) as picture:
            assert picture.format == "JPEG"
            assert not picture.getexif()
            sizes.add(picture.size)
    assert sizes == {(24, 16), (300, 100)}
    assert not any(b"photographer" in data for data in chat.pictures)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("timeout", "timeout"),
        ("hang_up", "unreachable"),
        ("429", "rate_limited"),
        ("500", "server_error"),
        ("malformed", "malformed_answer"),
        ("shape", "malformed_answer"),
        ("empty", "empty_answer"),
    ],
)
def test_a_fault_is_counted_and_made_good_by_another_attempt(raw, chat, quick, fault, reason):
    chat.faults = [fault, "", fault]
    done, desk, _ = caption(raw, chat, timeout=0.8 if fault == "timeout" else 30.0)
    assert done.summary["kept"] == 12
    assert desk.captioner.attempts_failed == {reason: 2}
    assert sorted(chat.answered.values()) == [1] * 12
    assert len(chat.asked) == 14


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("429", "rate_limited"),
        ("500", "server_error"),
        ("empty", "empty_answer"),
        ("400", "question_refused"),
    ],
)
def test_a_fault_that_stays_is_the_reason_of_a_rejection(raw, chat, quick, fault, reason):
    chat.always = fault
    done, desk, _ = caption(raw, chat, sample=3, attempts=2, concurrency=1)
    assert failed(done) == {reason: 3}
    assert desk.drafts.failed == {reason: 3}
    assert len(chat.asked) == (3 if fault == "400" else 6)  # who is refused is not asked again
    chat.always = ""
    again, _, _ = caption(raw, chat, sample=3)
    assert again.summary["kept"] == 3  # a failure is not kept as an answer


@pytest.mark.parametrize(
    ("finish", "reason"), [("content_filter", "question_refused"), ("length", "empty_answer")]
)
def test_an_answer_that_will_stay_empty_is_paid_for_once(raw, chat, monkeypatch, finish, reason):
    def empty(handler, body):
        chat.asked.append(("", ""))
        choice = {"message": {"content": None}, "finish_reason": finish}
        data = json.dumps({"choices": [choice]}).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    monkeypatch.setattr(chat, "reply", empty)
    done, _, _ = caption(raw, chat, sample=2)
    assert (failed(done), len(chat.asked)) == ({reason: 2}, 2)


def test_a_server_that_asks_for_time_gets_it_from_all(raw, chat):
    chat.faults, chat.retry_after = ["429"], "1"
    caption(raw, chat, concurrency=1, sample=2)
    assert chat.times[1] - chat.times[0] >= 0.95


def test_no_more_requests_are_under_way_than_allowed(raw, chat):
    chat.delay = 0.05
    caption(raw, chat, concurrency=3)
    assert 1 < chat.most_at_once <= 3


def test_a_server_that_dies_half_way_costs_no_answer(raw, make_raw, chat, quick):
    make_raw(raw, 24)
    chat.dies_after = 5
    with pytest.raises(FdrdError, match="questions in a row"):
        caption(raw, chat, concurrency=2, attempts=2)
    assert sum(chat.answered.values()) >= 5
    with AnswerCache(raw.parent / "answers.sqlite") as cache:
        assert len(cache) == sum(chat.answered.values())
    assert not (raw.parent / "captioned").exists()
    chat.dies_after = None
    done, desk, _ = caption(raw, chat)
    assert done.summary["kept"] == 24
    assert set(chat.answered.values()) == {1}
    assert desk.drafts.cached + desk.drafts.answered == 24


def test_a_refused_key_stops_at_once_and_is_nowhere_to_be_read(raw, chat, key, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    chat.key = "another"
    with pytest.raises(FdrdError) as caught:
        caption(raw, chat, concurrency=2)
    assert "OPENAI_API_KEY" in str(caught.value)
    assert len(chat.asked) <= 2
    chat.key = key
    chat.faults = ["500"]  # a server that repeats what it was sent
    caption(raw, chat)
    said = [str(caught.value), repr(caught.value), caplog.text]
    files = [path.read_bytes() for path in raw.parent.rglob("*") if path.is_file()]
    assert files
    assert not any(key in text for text in said)
    assert not any(key.encode() in data for data in files)


def test_a_failure_that_repeats_the_key_hides_it(raw, chat, key, quick):
    chat.always = "500"
    caption(raw, chat, sample=2, attempts=1)
    (file,) = (raw.parent / "captioned").rglob("rejected_captions.jsonl")
    assert "out of memory, Bearer [key]" in file.read_text()


def test_a_key_that_cannot_be_one_is_not_shown(raw, chat, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret\nsk-other")
    with pytest.raises(FdrdError) as caught:
        caption(raw, chat)
    assert "secret" not in str(caught.value)
    assert "OPENAI_API_KEY" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"model": ""}, "-C model"),
        ({"url": "http://user:word@host/v1"}, "user"),
        ({"url": "http://host/v1?key=1"}, "query"),
        ({"url": "ftp://127.0.0.1/v1"}, "url="),
        ({"concurrency": 0}, "at least 1"),
    ],
)
def test_a_wrong_option_is_one_line(raw, chat, options, what):
    with pytest.raises(FdrdError, match=what):
        caption(raw, chat, **options)


def test_a_wrong_path_names_the_address(raw, chat, monkeypatch):
    def gone(handler, body):
        handler.send_response(404)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    monkeypatch.setattr(chat, "reply", gone)
    with pytest.raises(FdrdError, match="404"):
        caption(raw, chat)


def test_a_budget_is_kept_and_a_greater_one_goes_on(raw, chat):
    prices = {"input_price": 1000.0, "output_price": 1000.0}  # an answer costs 1.02
    tight = {"picture_tokens": 900, "max_tokens": 100, **prices}
    done, desk, spending = caption(raw, chat, budget=5.0, **tight)
    assert spending.spent == pytest.approx(1.02 * len(chat.asked))
    assert 0 < spending.spent <= 5.0
    assert (done.stopped, done.unfinished) == ("budget_spent", 12 - len(chat.asked))
    assert failed(done) == {}
    first = len(chat.asked)
    done, desk, spending = caption(raw, chat, budget=100.0, **tight)
    assert (done.summary["kept"], desk.drafts.cached) == (12, first)
    assert len(chat.asked) == len(set(chat.asked)) == 12


@pytest.mark.parametrize(("fault", "paid"), [("empty", 1.0), ("500", 0.0)])
def test_an_attempt_that_may_have_worked_counts_as_paid(raw, chat, quick, fault, paid):
    chat.faults = [fault]
    prices = {
        "input_price": 1000.0,
        "output_price": 1000.0,
        "picture_tokens": 900,
        "max_tokens": 100,
    }
    _, desk, spending = caption(raw, chat, sample=1, **prices)
    (_, text) = chat.asked[0]
    highest = desk.captioner.expected(text).cost
    assert spending.spent == pytest.approx(1.02 + paid * highest)


def test_without_prices_there_is_no_budget(raw, chat):
    with pytest.raises(FdrdError, match="input_price"):
        caption(raw, chat, budget=1.0)


def test_a_draft_that_nobody_evaluated_is_unfinished(raw, chat):
    """The budget ends between drafts and evaluations: no caption slips through unseen."""
    prices = {
        "input_price": 1000.0,
        "output_price": 1000.0,
        "picture_tokens": 900,
        "max_tokens": 100,
    }
    spending = Spending(13.0)
    found = find_pictures(raw, 10**6)
    judge = endpoint(spending, model="judge", url=chat.url, **prices)
    with AnswerCache(raw.parent / "answers.sqlite") as cache:
        writer = endpoint(spending, model="m", url=chat.url, **prices)
        desk = Desk(writer, judge, None, cache)
        done = run(raw, raw.parent / "captioned", found, found.pictures, Plan(), desk, spending)
    assert done.summary["kept"] < 12
    assert done.summary["kept"] + done.unfinished + sum(failed(done).values()) == 12
    assert not any(outcome.reason == "budget_spent" for outcome in done.outcomes)


def test_the_estimate_counts_what_is_known_already(raw, chat):
    found = find_pictures(raw, 10**6)
    caption(raw, chat, sample=5)
    with AnswerCache(raw.parent / "answers.sqlite") as cache:
        writer = endpoint(
            Spending(), model="m", url=chat.url, input_price=1.0, output_price=2.0,
            picture_tokens=1000, max_tokens=200,
        )  # fmt: skip
        expected = estimate(found.pictures, Plan(rounds=2), Desk(writer, None, None, cache))
    assert (expected.known, expected.least, expected.most) == (5, 7, 19)
    assert expected.output_tokens == 7 * 200
    assert expected.least_cost == pytest.approx((expected.input_tokens + 2 * 1400) / 1e6)
    assert expected.most_cost > 19 / 7 * expected.least_cost * 0.9
    assert len(chat.asked) == 5


def test_ctrl_c_keeps_what_is_under_way(raw, chat):
    """The signal comes while four requests wait for their answers; each of those is paid for, and kept."""
    chat.delay = 0.4

    def wait_and_interrupt():
        while chat._now < 4:
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    threading.Thread(target=wait_and_interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        caption(raw, chat, concurrency=4)
    with AnswerCache(raw.parent / "answers.sqlite") as cache:
        assert len(cache) == sum(chat.answered.values()) == 4
    assert not (raw.parent / "captioned").exists()
    chat.delay = 0.0
    done, desk, _ = caption(raw, chat)
    assert (done.summary["kept"], desk.drafts.cached) == (12, 4)
    assert set(chat.answered.values()) == {1}


def test_a_failure_is_told_apart_from_an_answer(raw, chat, quick):
    chat.answer = lambda text, number: "I'm sorry, but I can't describe this picture."
    done, _, _ = caption(raw, chat, sample=2, plan=Plan(rounds=2))
    assert failed(done) == {"refusal": 2}
    assert len(chat.asked) == 4  # it was told what is wrong, and asked again
    assert not any(isinstance(outcome.caption, Failure) for outcome in done.outcomes)
