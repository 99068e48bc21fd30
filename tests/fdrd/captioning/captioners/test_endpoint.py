"""A server with faults: what is asked, stored, counted, spent and shown."""

import io
import logging
import signal
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from PIL import Image

from fdrd.captioning import AnswerCache, CaptionSettings, caption
from fdrd.errors import FdrdError

PRICES = {  # an answer costs 1.02
    "input_price": 1000.0,
    "output_price": 1000.0,
    "image_tokens": 900,
    "max_tokens": 100,
}


def run_endpoint(raw, chat, *, budget=None, judge=None, rounds=3, sample=None, **options):
    """Caption the source; output and cache are beside it."""
    options = {"model": "m", "url": chat.url, "timeout": 30.0, **options}
    return caption(
        raw,
        raw.parent / "captioned",
        captioner="endpoint",
        options=options,
        evaluator="endpoint" if judge else None,
        evaluator_options=options | {"model": judge},
        settings=CaptionSettings(rounds=rounds, sample=sample),
        budget=budget,
        cache=raw.parent / "answers.sqlite",
    )


def read_captions(raw):
    return (raw.parent / "captioned" / "raw" / "captions.json").read_bytes()


def count_cached(raw):
    with AnswerCache(raw.parent / "answers.sqlite") as cache:
        return len(cache)


@pytest.fixture
def quick(monkeypatch):
    """Do not wait between attempts unless the server asks for it."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)


def test_every_image_is_asked_about_once_and_a_rerun_asks_nothing(raw, chat):
    (raw / "house wren" / "copy.png").write_bytes((raw / "house wren" / "000.png").read_bytes())
    run = run_endpoint(raw, chat)
    assert run.summary["kept"] == 13
    assert len(chat.asked) == len(set(chat.asked)) == 12  # equal images are asked about once
    assert (run.usage["input_tokens"], run.usage["output_tokens"]) == (12_000, 240)
    written = read_captions(raw)
    again = run_endpoint(raw, chat)
    assert (len(chat.asked), again.usage["cached"], again.usage["answered"]) == (12, 12, 0)
    assert again.summary == run.summary
    assert read_captions(raw) == written


def test_an_image_is_sent_without_its_metadata(raw, chat):
    Image.new("RGB", (900, 300)).save(raw / "robin" / "large.png")
    run_endpoint(raw, chat, max_side=300)
    sizes = set()
    for data in chat.images:
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "JPEG"
            assert not image.getexif()
            sizes.add(image.size)
    assert sizes == {(24, 16), (300, 100)}
    assert not any(b"photographer" in data for data in chat.images)


@pytest.mark.parametrize("fault", ["timeout", "hang_up", "429", "500"])
def test_a_temporary_fault_is_retried(raw, chat, quick, fault):
    chat.faults = [fault, "", fault]
    run = run_endpoint(raw, chat, timeout=0.8 if fault == "timeout" else 30.0)
    assert run.summary["kept"] == 12
    assert sorted(chat.answered.values()) == [1] * 12
    assert len(chat.asked) == 14


@pytest.mark.parametrize(
    ("fault", "reason", "requests"),
    [
        ("hang_up", "unreachable", 6),
        ("429", "rate_limited", 6),
        ("500", "server_error", 6),
        ("malformed", "malformed_answer", 3),
        ("shape", "malformed_answer", 3),
        ("empty", "empty_answer", 3),
        ("400", "question_refused", 3),
    ],
)
def test_a_permanent_fault_is_the_rejection_reason(raw, chat, quick, fault, reason, requests):
    """Only a fault of the server or the connection is retried."""
    chat.always = fault
    run = run_endpoint(raw, chat, sample=3, attempts=2, concurrency=1)
    assert run.summary["rejected"] == {reason: 3}
    assert len(chat.asked) == requests
    chat.always = ""
    assert run_endpoint(raw, chat, sample=3).summary["kept"] == 3  # failures are not cached


@pytest.mark.parametrize(
    ("finish", "reason"), [("content_filter", "question_refused"), ("length", "empty_answer")]
)
def test_an_answer_that_would_stay_empty_is_asked_for_once(raw, chat, finish, reason):
    chat.finish, chat.answer = finish, lambda text, number: ""
    run = run_endpoint(raw, chat, sample=2)
    assert (run.summary["rejected"], len(chat.asked)) == ({reason: 2}, 2)


def test_a_server_that_asks_for_a_pause_gets_it(raw, chat, monkeypatch):
    waited = []
    clock = SimpleNamespace(**{**vars(time), "sleep": waited.append})
    monkeypatch.setattr("openai._base_client.time", clock)
    chat.faults, chat.retry_after = ["429"], "7"
    run_endpoint(raw, chat, concurrency=1, sample=2)
    assert waited == [7]


def test_a_server_that_dies_costs_no_answer(raw, make_raw, chat, quick):
    make_raw(raw, 24)
    chat.dies_after, chat.delay = 5, 0.02
    message = "questions in a row.*answers so far are kept, and the same command resumes"
    with pytest.raises(FdrdError, match=message):
        run_endpoint(raw, chat, concurrency=2, attempts=2)
    assert count_cached(raw) == sum(chat.answered.values()) >= 5
    assert not (raw.parent / "captioned").exists()
    assert chat.most_at_once == 2
    chat.dies_after = None
    run = run_endpoint(raw, chat)
    assert run.summary["kept"] == 24
    assert set(chat.answered.values()) == {1}


def test_an_invalid_key_stops_the_run_and_a_valid_one_is_never_shown(raw, chat, key, caplog):
    caplog.set_level(logging.DEBUG)
    chat.key = "another"
    with pytest.raises(FdrdError, match="OPENAI_API_KEY") as caught:
        run_endpoint(raw, chat, concurrency=2)
    assert len(chat.asked) <= 2
    chat.key = key
    chat.always = "500"  # a server that repeats what it was sent
    run_endpoint(raw, chat, sample=2, attempts=1)
    (file,) = (raw.parent / "captioned").rglob("rejected_captions.jsonl")
    assert "out of memory, Bearer [key]" in file.read_text()
    shown = [str(caught.value), repr(caught.value), caplog.text]
    files = [path.read_bytes() for path in raw.parent.rglob("*") if path.is_file()]
    assert not any(key in text for text in shown)
    assert not any(key.encode() in data for data in files)


def test_a_malformed_key_is_not_shown(raw, chat, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret\nsk-other")
    with pytest.raises(FdrdError, match="OPENAI_API_KEY") as caught:
        run_endpoint(raw, chat)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"model": ""}, "-C model"),
        ({"url": "http://user:word@host/v1"}, "user"),
        ({"url": "http://host/v1?key=1"}, "query"),
        ({"url": "ftp://127.0.0.1/v1"}, "url="),
        ({"url": "http://127.0.0.1:port/v1"}, "url="),
        ({"concurrency": 0}, "at least 1"),
        ({"budget": 1.0}, "input_price"),
    ],
)
def test_an_invalid_option_is_an_error(raw, chat, options, what):
    with pytest.raises(FdrdError, match=what):
        run_endpoint(raw, chat, **options)


def test_a_wrong_path_is_an_error_with_the_url(raw, chat):
    chat.always = "404"
    with pytest.raises(FdrdError, match=r"404.*check -C url"):
        run_endpoint(raw, chat)


def test_a_budget_is_kept_and_a_larger_one_resumes(raw, chat):
    run = run_endpoint(raw, chat, budget=5.0, **PRICES)
    assert run.usage["spent"] == pytest.approx(1.02 * len(chat.asked))
    assert 0 < run.usage["spent"] <= 5.0
    assert (run.stopped, run.summary["unfinished"]) == ("budget_spent", 12 - len(chat.asked))
    assert run.summary["rejected"] == {}
    first = len(chat.asked)
    run = run_endpoint(raw, chat, budget=100.0, **PRICES)
    assert (run.summary["kept"], run.usage["cached"]) == (12, first)
    assert len(chat.asked) == len(set(chat.asked)) == 12


@pytest.mark.parametrize(("fault", "billed"), [("empty", True), ("400", False)])
def test_a_failed_question_that_may_have_been_billed_counts_as_spent(raw, chat, fault, billed):
    chat.always = fault
    run = run_endpoint(raw, chat, sample=1, **PRICES)
    ((_, text),) = chat.asked
    highest = (900 + len(text) // 3 + 100) / 1000
    assert run.usage["spent"] == pytest.approx(highest if billed else 0.0)


def test_without_the_package_the_error_is_the_remedy(raw, chat, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(FdrdError, match=r"pip install 'fdrd\[endpoint\]'"):
        run_endpoint(raw, chat)


def test_ctrl_c_keeps_requests_in_flight(raw, chat):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    says, interrupted = chat.says, threading.Event()

    def wait_and_answer(text, number):
        assert interrupted.wait(60)  # so four requests are in flight, however slow the machine is
        return says(text, number)

    def interrupt():
        while chat.in_flight < 4:
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(0.2)  # the main thread stops asking before the answers come
        interrupted.set()

    chat.says = wait_and_answer
    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run_endpoint(raw, chat, concurrency=4)
    assert count_cached(raw) == sum(chat.answered.values()) == 4
    assert not (raw.parent / "captioned").exists()
    run = run_endpoint(raw, chat)
    assert (run.summary["kept"], run.usage["cached"]) == (12, 4)
    assert set(chat.answered.values()) == {1}
