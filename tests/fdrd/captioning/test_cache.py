"""Answers on disk: found by what was asked, never asked for twice, not even by two processes."""

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest

from fdrd.captioning import Answer, AnswerCache, Failure, Picture, Question
from fdrd.captioning.asking import Tally, ask
from fdrd.captioning.cache import question_key
from fdrd.errors import FdrdError
from fdrd.record import ImageRef, Record, Source

PICTURE = Picture("raw", Record("d/1", ImageRef("1.png"), "", "wren", Source("1.png")), "ab" * 32)


@pytest.fixture
def cache(tmp_path):
    with AnswerCache(tmp_path / "answers.sqlite") as cache:
        yield cache


def run_python(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip


CLAIMER = """
import sys
from pathlib import Path
from fdrd.captioning import Answer, AnswerCache
with AnswerCache(Path(sys.argv[1])) as cache:
    assert cache.claim("a") and cache.claim("b")
    cache.put("b", Answer("kept"), "m")
    print("ready", flush=True)
    sys.stdin.readline()
"""


def test_the_key_is_picture_question_and_parameters_but_not_the_name():
    one = Question(PICTURE, "what is it")
    moved = replace(PICTURE, root="elsewhere", record=replace(PICTURE.record, id="e/9"))
    key = question_key({"model": "m", "temperature": 0.0}, one)
    assert question_key({"temperature": 0.0, "model": "m"}, Question(moved, one.text)) == key
    others = [
        question_key({"model": "n", "temperature": 0.0}, one),
        question_key({"model": "m", "temperature": 0.1}, one),
        question_key({"model": "m", "temperature": 0.0}, replace(one, text="what is it?")),
        question_key(
            {"model": "m", "temperature": 0.0},
            Question(replace(PICTURE, sha256="cd" * 32), one.text),
        ),
    ]
    assert len({key, *others}) == 5


def test_an_answer_is_what_was_put_and_outlives_the_run(tmp_path):
    file = tmp_path / "answers.sqlite"
    answer = Answer("A wren.\n鸟", 7, 3, True)
    with AnswerCache(file) as cache:
        assert cache.get("k") is None
        cache.put("k", answer, "m")
    with AnswerCache(file) as cache:
        assert (cache.get("k"), len(cache), cache.claim("k")) == (answer, 1, False)


def test_a_claim_keeps_others_out_until_it_is_given_up(tmp_path):
    file = tmp_path / "answers.sqlite"
    with AnswerCache(file) as one, AnswerCache(file) as other:
        assert one.claim("k")
        assert one.claim("k")
        assert not other.claim("k")
        other.give_up("k")
        assert not other.claim("k")
        one.give_up("k")
        assert other.claim("k")


def test_the_claims_of_a_process_last_as_long_as_it_lives(tmp_path):
    file = tmp_path / "answers.sqlite"
    other = run_python(CLAIMER, file)
    assert other.stdout.readline() == "ready\n"
    with AnswerCache(file) as cache:
        assert not cache.claim("a")
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert cache.claim("a")
        assert cache.get("b") == Answer("kept")
    assert [path.name for path in tmp_path.glob("*.lock")] == []


def test_a_run_waits_for_the_answer_that_another_is_getting(tmp_path, monkeypatch):
    """The other process answers while this one looks again; nothing is asked here."""
    file = tmp_path / "answers.sqlite"
    question = Question(PICTURE, "what is it")
    captioner = Scripted({"what is it": "asked twice"})
    with AnswerCache(file) as one, AnswerCache(file) as other:
        key = question_key(captioner.identity, question)
        assert other.claim(key)
        monkeypatch.setattr(
            "fdrd.captioning.asking.time.sleep", lambda _: other.put(key, Answer("asked once"), "m")
        )
        tally = Tally()
        assert ask(captioner, [question], one, tally) == [Answer("asked once")]
        assert (captioner.asked, tally.cached, tally.answered) == ([], 1, 0)


def test_an_answer_is_stored_before_it_counts(cache):
    """Whoever is told of an answer finds it on the disk."""
    captioner = Scripted({"a": "one", "b": "two"})
    seen = []
    questions = [Question(PICTURE, "a"), Question(PICTURE, "b"), Question(PICTURE, "a")]
    ask(captioner, questions, cache, Tally(), lambda done: seen.append((done, len(cache))))
    assert captioner.asked == ["a", "b"]
    assert all(done <= stored for done, stored in seen)
    assert seen[-1][0] == 2


def test_a_failure_is_not_stored(cache):
    question = Question(PICTURE, "unknown")
    tally = Tally()
    assert ask(Scripted({}), [question], cache, tally) == [Failure("no_answer")]
    assert (len(cache), tally.failed) == (0, {"no_answer": 1})
    assert ask(Scripted({"unknown": "now"}), [question], cache, tally) == [Answer("now")]


def test_what_breaks_in_the_middle_leaves_the_rest_to_be_asked(tmp_path):
    file = tmp_path / "answers.sqlite"
    questions = [Question(PICTURE, text) for text in "abc"]
    with AnswerCache(file) as cache, pytest.raises(ZeroDivisionError):
        ask(Scripted({"a": "one", "b": ZeroDivisionError}), questions, cache, Tally())
    captioner = Scripted({"a": "-", "b": "two", "c": "three"})
    with AnswerCache(file) as cache:
        found = ask(captioner, questions, cache, Tally())
    assert [answer.text for answer in found] == ["one", "two", "three"]
    assert captioner.asked == ["b", "c"]


@pytest.mark.parametrize(
    "content", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 4000]
)
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "answers.sqlite").write_bytes(content)
    with pytest.raises(FdrdError, match="--cache"):
        AnswerCache(tmp_path / "answers.sqlite")
    assert (tmp_path / "answers.sqlite").read_bytes() == content


def test_a_later_version_is_refused(tmp_path):
    import sqlite3

    with sqlite3.connect(tmp_path / "answers.sqlite") as database:
        database.execute("PRAGMA user_version=99")
    with pytest.raises(FdrdError, match="later fdrd"):
        AnswerCache(tmp_path / "answers.sqlite")


class Scripted:
    """Answers by question."""

    identity = {"name": "scripted", "model": "m"}  # noqa: RUF012
    converses = True
    free = False

    def __init__(self, answers):
        self.answers = answers
        self.asked = []

    def answer(self, questions, keep):
        for question in questions:
            self.asked.append(question.text)
            said = self.answers.get(question.text)
            if isinstance(said, type):
                raise said
            keep(question, Answer(said) if said else Failure("no_answer"))
        return ""
