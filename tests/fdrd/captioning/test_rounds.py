"""Draft, evaluate, feed back: what is asked again, with which words, and what becomes of a picture."""

import io
import json

import pytest
from PIL import Image

from fdrd.captioning import Answer, AnswerCache, Expected, Failure
from fdrd.captioning.pictures import find_pictures
from fdrd.captioning.questions import QUESTIONS, draft_question, read_questions
from fdrd.captioning.rounds import Desk, Plan, make_captions
from fdrd.captioning.verdict import read_verdict
from fdrd.errors import FdrdError

META = "A wren is the main subject of the image."
GOOD = "A wren sits on a mossy post."


class Scripted:
    """Answers from a list, by a function of the question, or with one text."""

    converses = True
    free = False
    stops = ""

    def __init__(self, name, said, stop_after=None):
        self.identity = {"name": name, "model": name}
        self.said = said
        self.asked = []
        self.stop_after = stop_after

    def expected(self, text):
        return Expected()

    def answer(self, questions, keep):
        while self.stop_after is None or len(self.asked) < self.stop_after:
            question = next(questions, None)
            if question is None:
                return ""
            self.asked.append(question.text)
            said = self.said(question.text) if callable(self.said) else self.said
            keep(question, said if isinstance(said, Failure) else Answer(said))
        return "budget_spent"


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
    found = find_pictures(source, 10**6)

    def caption(captioner, evaluator=None, score=None, **plan):
        with AnswerCache(tmp_path / "answers.sqlite") as cache:
            desk = Desk(captioner, evaluator, score, cache)
            return list(make_captions(found.pictures, found.categories, Plan(**plan), desk))

    return caption


def reasons(outcomes):
    return [outcome.reason for outcome in outcomes]


def test_only_pictures_without_a_caption_are_found(source):
    found = find_pictures(source, 10**6)
    assert [picture.path for picture in found.pictures] == [
        f"wren/{number}.png" for number in range(4)
    ]
    assert [record.caption for record in found.given] == ["A robin that has its caption."]
    assert found.categories == {"raw": ("robin", "wren")}


def test_a_picture_that_is_none_is_a_rejection_and_not_asked_about(source):
    (source / "wren" / "5.png").write_text("no picture")
    (rejected,) = find_pictures(source, 10**6).rejected
    assert (rejected.file, rejected.reason) == ("wren/5.png", "not_an_image")


def test_a_picture_that_did_not_change_is_not_decoded_again(source, draw, monkeypatch):
    first = find_pictures(source, 10**6)
    looked = []
    monkeypatch.setattr(
        "fdrd.pipeline.collect.check_image", lambda root, image, limit: looked.append(image.path)
    )
    assert find_pictures(source, 10**6) == first
    assert looked == []
    monkeypatch.undo()
    (source / "wren" / "2.png").write_bytes(draw(77))
    again = find_pictures(source, 10**6)
    changed = [
        picture.path for picture, before in zip(again.pictures, first.pictures, strict=True)
        if picture.sha256 != before.sha256
    ]  # fmt: skip
    assert changed == ["wren/2.png"]


def test_a_source_that_has_all_its_captions_says_so(write, draw, tmp_path):
    write("wren/1.png", draw(1))
    write("wren/1.txt", "A wren.")
    with pytest.raises(FdrdError, match="no picture lacks a caption"):
        find_pictures(tmp_path / "raw", 10**6)


def test_what_a_filter_finds_is_fed_back_without_asking_the_evaluator(caption):
    writer = Scripted("w", lambda text: GOOD if "earlier caption" in text else META)
    judge = Scripted("j", verdict())
    outcomes = caption(writer, judge)
    assert reasons(outcomes) == [""] * 4
    assert {outcome.problems for outcome in outcomes} == {(("meta_talk",), ())}
    assert (len(writer.asked), len(judge.asked)) == (8, 4)
    assert all(META in text for text in writer.asked[4:])
    assert all("speaks of the picture" in text for text in writer.asked[4:])


def test_what_the_evaluator_finds_is_fed_back_in_its_words(caption):
    better = "A wren sits on a green post."
    writer = Scripted("w", lambda text: better if "It is green" in text else GOOD)
    judge = Scripted(
        "j",
        lambda text: (
            verdict()
            if better in text
            else verdict(contradictions=["mossy"], advice="It is green.")
        ),
    )
    outcomes = caption(writer, judge)
    assert [outcome.caption for outcome in outcomes] == [better] * 4
    assert {outcome.problems for outcome in outcomes} == {(("picture_contradicted",), ())}
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
def test_what_is_wrong_after_the_last_round_is_the_reason(caption, said, reason):
    writer = Scripted("w", GOOD)
    outcomes = caption(writer, Scripted("j", said), rounds=2)
    assert reasons(outcomes) == [reason] * 4
    assert {outcome.problems for outcome in outcomes} == {((reason,), (reason,))}
    outcomes = caption(writer, Scripted("j", said), without=frozenset({reason}))
    assert reasons(outcomes) == [""] * 4


def test_a_draft_that_did_not_come_is_not_asked_for_again(caption):
    writer = Scripted("w", Failure("server_error", "500"))
    outcomes = caption(writer, rounds=3)
    assert [(outcome.reason, outcome.detail) for outcome in outcomes] == [
        ("server_error", "500")
    ] * 4
    assert len(writer.asked) == 4


def test_a_captioner_that_reads_no_question_is_asked_once(caption):
    writer = Scripted("w", META)
    writer.converses = False
    assert reasons(caption(writer, rounds=3)) == ["meta_talk"] * 4
    assert len(writer.asked) == 4


def test_a_stopped_run_gives_what_is_whole_and_another_goes_on(caption):
    assert len(caption(Scripted("w", GOOD, stop_after=3))) == 3
    writer = Scripted("w", GOOD)
    assert len(caption(writer)) == 4
    assert len(writer.asked) == 1


def test_a_stop_between_rounds_rejects_nobody(caption):
    """Four first drafts that want a second: none of the pictures is at its end."""
    writer = Scripted("w", META, stop_after=4)
    assert caption(writer, rounds=2) == []


def test_a_score_below_the_limit_is_a_rejection_with_the_score(caption):
    def score(pictures, captions):
        assert captions == [GOOD] * len(pictures)
        return [int(picture.path[5]) / 10 for picture in pictures]

    outcomes = caption(Scripted("w", GOOD), score=score, least_score=0.15)
    assert reasons(outcomes) == ["clip_score", "clip_score", "", ""]
    assert [outcome.score for outcome in outcomes] == [0.0, 0.1, 0.2, 0.3]
    assert reasons(caption(Scripted("w", GOOD), score=score)) == [""] * 4


def test_pictures_get_one_of_the_questions_by_their_digest(source):
    pictures = find_pictures(source, 10**6).pictures
    asked = {
        draft_question(picture, ("{category} of {dataset}?", "{what} {category}")).text
        for picture in pictures
    }
    assert asked <= {"wren of raw?", "{what} wren"}
    assert all("wren" in draft_question(picture, QUESTIONS).text for picture in pictures)


def test_a_name_with_braces_stays_as_it_is(write, draw, tmp_path):
    write("{dataset} {draft}/1.png", draw(1))
    (picture,) = find_pictures(tmp_path / "raw", 10**6).pictures
    assert draft_question(picture, ("Is it {category}?",)).text == "Is it {dataset} {draft}?"


def test_questions_of_the_users_own_are_parted_by_empty_lines(tmp_path):
    file = tmp_path / "questions.txt"
    file.write_text("\ufeffWhat is this {category}?\nSay it.\n\n \nFrom {dataset}?\n", "utf-8")
    assert read_questions(file) == ("What is this {category}?\nSay it.", "From {dataset}?")
    for bad in ("", "\n\n", "Is it {klass}?"):
        file.write_text(bad)
        with pytest.raises(FdrdError, match="category"):
            read_questions(file)


def test_a_verdict_is_found_in_whatever_is_around_it():
    plain = verdict(inventions=["a hat"])
    wrapped = f"Here you are: {{}} ```json\n{plain}\n``` {{broken"
    assert read_verdict(wrapped) == read_verdict(plain)
    assert read_verdict(plain).advice == "Not to be seen: a hat."
    assert read_verdict("{" * 5000).problems == ("evaluation_unreadable",)


def test_a_captioner_sees_an_image_as_the_benchmark_does(write, tmp_path):
    """Upright, RGB, and transparent pixels on white: the same pixels that a backbone encodes."""
    image = Image.new("RGBA", (2, 3), (255, 0, 0, 0))
    image.putpixel((0, 0), (0, 0, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    data = io.BytesIO()
    image.save(data, "PNG", exif=exif)
    write("wren/1.png", data.getvalue())
    (picture,) = find_pictures(tmp_path / "raw", 10**6).pictures
    seen = picture.upright()
    assert (seen.mode, seen.size) == ("RGB", (3, 2))
    assert (
        sorted(seen.getpixel((x, y)) for x in range(3) for y in range(2))
        == [(0, 0, 255)] + [(255, 255, 255)] * 5
    )
