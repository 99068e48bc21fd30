"""Cached answers: found by what was asked, and never asked for twice."""

import hashlib
import sqlite3
from dataclasses import replace

import pytest
from msgspec import structs

from fdrd.captioning import Answer, AnswerCache, Question, UncaptionedImage
from fdrd.captioning.interface import CaptioningSession, question_key
from fdrd.captioning.noise import FILTERS
from fdrd.captioning.wording import QUESTIONS, draft_question, evaluation_question
from fdrd.errors import FdrdError
from fdrd.record import ImageRef, Record, Source
from tests.fdrd.captioning.scripted import Scripted

RECORD = Record("d/1", ImageRef("1.png"), "", "wren", Source("1.png"), domain="birds")
IMAGE = UncaptionedImage("raw", RECORD, "ab" * 32)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "answers.sqlite"


@pytest.fixture
def cache(file):
    with AnswerCache(file) as cache:
        yield cache


def test_the_key_is_image_question_and_parameters_but_not_the_name():
    question = Question(IMAGE, "what is it")
    moved = replace(IMAGE, root="elsewhere", record=structs.replace(RECORD, id="e/9"))
    key = question_key({"model": "m", "temperature": 0.0}, question)
    assert question_key({"temperature": 0.0, "model": "m"}, Question(moved, question.text)) == key
    others = [
        question_key({"model": "n", "temperature": 0.0}, question),
        question_key({"model": "m", "temperature": 0.1}, question),
        question_key({"model": "m", "temperature": 0.0}, Question(IMAGE, "what is it?")),
        question_key(
            {"model": "m", "temperature": 0.0},
            Question(replace(IMAGE, sha256="cd" * 32), question.text),
        ),
    ]
    assert len({key, *others}) == 5


def test_default_prompts_keep_the_keys_of_answers_that_users_have_paid_for():
    """A failure here means that a prompt changed, and that users pay for its answers again."""
    asked = [
        draft_question(IMAGE, QUESTIONS),
        draft_question(IMAGE, QUESTIONS, "A wren.", ("It is red.",)),
        evaluation_question(IMAGE, "A wren."),
    ]
    keys = [question_key({"model": "m"}, question)[:8] for question in asked]
    assert keys == ["211c0fc4", "663099e5", "f596fdbe"]
    feedback = "\n".join(text for text, _ in FILTERS.values())
    assert hashlib.sha256(feedback.encode()).hexdigest()[:8] == "06cf7891"


def test_an_answer_survives_the_run(file):
    answer = Answer("A wren.\n鸟", 7, 3, True)
    with AnswerCache(file) as cache:
        assert cache.get("k") is None
        cache.put("k", answer, "m")
    with AnswerCache(file) as cache:
        assert (cache.get("k"), len(cache)) == (answer, 1)


def test_an_answer_is_stored_before_it_is_reported(cache):
    captioner = Scripted("m", {"a": "one", "b": "two"}.get)
    reported = []
    questions = [Question(IMAGE, text) for text in "aba"]
    session = CaptioningSession(captioner, cache)
    session.ask(captioner, questions, lambda done: reported.append((done, len(cache))))
    assert captioner.asked == ["a", "b"]
    assert all(done <= stored for done, stored in reported)
    assert reported[-1][0] == 2


def test_after_an_error_the_rest_is_asked(file):
    questions = [Question(IMAGE, text) for text in "abc"]
    broken = Scripted("m", {"a": "one", "b": ZeroDivisionError}.get)
    with AnswerCache(file) as cache, pytest.raises(ZeroDivisionError):
        CaptioningSession(broken, cache).ask(broken, questions)
    captioner = Scripted("m", {"a": "-", "b": "two", "c": "three"}.get)
    with AnswerCache(file) as cache:
        answers = CaptioningSession(captioner, cache).ask(captioner, questions)
    assert [answer.text for answer in answers] == ["one", "two", "three"]
    assert captioner.asked == ["b", "c"]


@pytest.mark.parametrize(
    "content", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 4000]
)
def test_another_file_is_refused_and_left_alone(file, content):
    file.write_bytes(content)
    with pytest.raises(FdrdError, match="--cache"):
        AnswerCache(file)
    assert file.read_bytes() == content


def test_a_later_version_is_refused(file):
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA user_version=99")
    with pytest.raises(FdrdError, match="later fdrd"):
        AnswerCache(file)
