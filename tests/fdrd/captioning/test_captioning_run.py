"""A run: what is asked again, with which words, what is never asked twice, and what becomes of an image."""

import hashlib
import json
import sqlite3
from dataclasses import replace

import pytest
from msgspec import structs

from fdrd.captioning import (
    Answer,
    AnswerCache,
    CaptionSettings,
    Failure,
    Question,
    UncaptionedImage,
)
from fdrd.captioning.captioning_run import caption_images
from fdrd.captioning.interface import CaptioningSession, question_key
from fdrd.captioning.noise import FILTERS
from fdrd.captioning.uncaptioned import find_uncaptioned
from fdrd.captioning.wording import (
    QUESTIONS,
    draft_question,
    evaluation_question,
    read_questions,
    read_verdict,
)
from fdrd.errors import FdrdError
from fdrd.record import ImageRef, Record, Source


class Scripted:
    """Give one answer, or what a function of the question returns: text, a failure, or an error to raise."""

    converses = True
    free = False

    def __init__(self, name, reply, stop_after=None):
        self.identity = {"name": name, "model": name}
        self.reply = reply
        self.asked = []
        self.stop_after = stop_after

    def answer(self, questions, keep):
        while self.stop_after is None or len(self.asked) < self.stop_after:
            question = next(questions, None)
            if question is None:
                return ""
            self.asked.append(question.text)
            reply = self.reply(question.text) if callable(self.reply) else self.reply
            if isinstance(reply, type):
                raise reply
            keep(question, reply if isinstance(reply, Failure) else Answer(reply))
        return "budget_spent"


META = "A wren is the main subject of the image."
GOOD = "A wren sits on a mossy post."


def verdict(names=True, contradictions=(), inventions=(), advice=""):
    return json.dumps(
        {
            "names_category": names,
            "contradictions": list(contradictions),
            "inventions": list(inventions),
            "advice": advice,
        }
    )


@pytest.fixture
def source(write, draw, tmp_path):
    for number in range(4):
        write(f"wren/{number}.png", draw(number))
    write("robin/9.png", draw(9))
    write("robin/9.txt", "A robin that has its caption.")
    return tmp_path / "raw"


@pytest.fixture
def caption(source, tmp_path):
    found = find_uncaptioned(source)

    def caption(captioner, evaluator=None, score=None, **settings):
        with AnswerCache(tmp_path / "answers.sqlite") as cache:
            session = CaptioningSession(captioner, cache, evaluator, score)
            settings = CaptionSettings(**settings)
            return list(caption_images(found.images, found.categories, settings, session))

    return caption


def reasons(states):
    return [state.reason for state in states]


def problems(states):
    return {tuple(state.problems) for state in states}


def test_an_invalid_image_is_rejected_before_it_is_asked_about(source):
    (source / "wren" / "5.png").write_text("not an image")
    (rejected,) = find_uncaptioned(source).rejected
    assert (rejected.file, rejected.reason) == ("wren/5.png", "not_an_image")


def test_an_unchanged_image_is_not_decoded_again(source, draw, monkeypatch):
    first = find_uncaptioned(source)
    monkeypatch.setattr(
        "fdrd.pipeline.collect.check_images", lambda _, images, __: [1 / 0 for _ in images]
    )
    assert find_uncaptioned(source) == first
    monkeypatch.undo()
    (source / "wren" / "2.png").write_bytes(draw(77))
    again = find_uncaptioned(source)
    changed = set(again.images) - set(first.images)
    assert [image.path for image in changed] == ["wren/2.png"]


def test_a_filter_gives_feedback_without_asking_the_evaluator(caption):
    writer = Scripted("w", lambda text: GOOD if "earlier caption" in text else META)
    judge = Scripted("j", verdict())
    states = caption(writer, judge)
    assert reasons(states) == [""] * 4
    assert problems(states) == {(("meta_talk",), ())}
    assert (len(writer.asked), len(judge.asked)) == (8, 4)
    assert all(META in text and "speaks of the picture" in text for text in writer.asked[4:])


def test_the_evaluator_gives_feedback_in_its_own_words(caption):
    better = "A wren sits on a green post."
    wrong = verdict(contradictions=["mossy"], advice="It is green.")
    writer = Scripted("w", lambda text: better if "It is green" in text else GOOD)
    judge = Scripted("j", lambda text: verdict() if better in text else wrong)
    states = caption(writer, judge)
    assert [state.caption for state in states] == [better] * 4
    assert problems(states) == {(("picture_contradicted",), ())}
    assert (len(writer.asked), len(judge.asked)) == (8, 8)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (verdict(names=False), "category_not_named"),
        (verdict(contradictions=["post"]), "picture_contradicted"),
        (verdict(inventions=["mossy"]), "detail_invented"),
        ("I like it.", "evaluation_unreadable"),
        ('{"names_category": "yes"}', "evaluation_unreadable"),
        (Failure("timeout", "30 s"), "evaluation_failed"),
    ],
)
def test_the_problem_of_the_last_round_is_the_rejection_reason(caption, said, reason):
    writer = Scripted("w", GOOD)
    states = caption(writer, Scripted("j", said), rounds=2)
    assert reasons(states) == [reason] * 4
    assert problems(states) == {((reason,), (reason,))}
    states = caption(writer, Scripted("j", said), without=frozenset({reason}))
    assert reasons(states) == [""] * 4


def test_a_failed_draft_is_not_asked_for_again(caption):
    writer = Scripted("w", Failure("server_error", "500"))
    states = caption(writer, rounds=3)
    assert [(state.reason, state.detail) for state in states] == [("server_error", "500")] * 4
    assert len(writer.asked) == 4


def test_a_captioner_that_ignores_questions_is_asked_once(caption):
    writer = Scripted("w", META)
    writer.converses = False
    assert reasons(caption(writer, rounds=3)) == ["meta_talk"] * 4
    assert len(writer.asked) == 4


def test_a_stopped_run_returns_finished_images_and_resumes(caption):
    assert len(caption(Scripted("w", GOOD, stop_after=3))) == 3
    writer = Scripted("w", GOOD)
    assert len(caption(writer)) == 4
    assert len(writer.asked) == 1


def test_an_image_that_waits_for_another_round_or_verdict_is_unfinished(caption):
    assert caption(Scripted("w", META, stop_after=4), rounds=2) == []
    judge = Scripted("j", verdict(), stop_after=1)
    assert reasons(caption(Scripted("v", GOOD), judge)) == [""]


def test_a_score_below_the_minimum_rejects(caption):
    def score(images, captions):
        assert captions == [GOOD] * len(images)
        return [int(image.path[5]) / 10 for image in images]

    states = caption(Scripted("w", GOOD), score=score, min_clip_score=0.15)
    assert reasons(states) == ["clip_score", "clip_score", "", ""]
    assert [state.score for state in states] == [0.0, 0.1, 0.2, 0.3]
    assert reasons(caption(Scripted("w", GOOD), score=score)) == [""] * 4


def test_braces_in_a_name_are_left_alone(write, draw, tmp_path):
    write("{dataset} {draft}/1.png", draw(1))
    (image,) = find_uncaptioned(tmp_path / "raw").images
    assert draft_question(image, ("Is it {category}?",)).text == "Is it {dataset} {draft}?"


def test_custom_questions_are_separated_by_blank_lines(tmp_path):
    file = tmp_path / "questions.txt"
    file.write_text("\ufeffWhat is this {category}?\nSay it.\n\n \nFrom {dataset}?\n", "utf-8")
    assert read_questions(file) == ("What is this {category}?\nSay it.", "From {dataset}?")
    for bad in ("", "\n\n", "Is it {klass}?"):
        file.write_text(bad)
        with pytest.raises(FdrdError, match="category"):
            read_questions(file)


def test_a_verdict_is_found_inside_other_text():
    plain = verdict(inventions=["a hat"])
    wrapped = f"Here you are: {{}} ```json\n{plain}\n``` {{broken"
    assert read_verdict(wrapped) == read_verdict(plain)
    assert read_verdict(plain).advice == "Not to be seen: a hat."
    assert read_verdict("{" * 5000).problems == ("evaluation_unreadable",)


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


def test_an_answer_is_on_the_disk_before_it_is_reported(cache, file):
    captioner = Scripted("m", {"a": "one", "b": "two"}.get)
    reported = []

    def report(done):
        with AnswerCache(file) as other:  # a connection that sees only what was committed
            reported.append((done, len(other)))

    questions = [Question(IMAGE, text) for text in "aba"]
    CaptioningSession(captioner, cache).ask(captioner, questions, report)
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
