"""Captions from tables: the template with attributes, and captions made elsewhere."""

import pytest

from fdrd.captioning import AnswerCache, Question, Spending
from fdrd.captioning.asking import Tally, ask
from fdrd.captioning.captioners.reader import reader
from fdrd.captioning.captioners.template import template
from fdrd.captioning.pictures import find_pictures
from fdrd.captioning.table import read_rows
from fdrd.errors import FdrdError


@pytest.fixture
def said(raw, tmp_path):
    pictures = find_pictures(raw, 10**6).pictures

    def said(captioner):
        with AnswerCache(tmp_path / "answers.sqlite") as cache:
            found = ask(captioner, [Question(picture, "") for picture in pictures], cache, Tally())
            assert len(cache) == 0
        return {
            picture.path: getattr(answer, "text", answer)
            for picture, answer in zip(pictures, found, strict=True)
        }

    return said


def test_a_template_takes_attributes_of_the_category_and_of_the_picture(said, tmp_path):
    table = tmp_path / "attributes.csv"
    table.write_text(
        "file_name,category,colour,pose\n,House_Wren,brown,\n,robin,red,\nrobin/001.png,,orange,sleeps\n"
    )
    found = said(
        template(
            Spending(),
            text="{an colour} {category} {pose} in the shade. | {a colour} {category} sits in the shade.",
            attributes=str(table),
        )
    )
    assert found["house wren/000.png"] == "A brown house wren sits in the shade."
    assert found["robin/001.png"] == "An orange robin sleeps in the shade."
    assert found["robin/003.png"] == "A red robin sits in the shade."


def test_a_place_that_nothing_fills_is_a_failure_with_its_name(said, tmp_path):
    table = tmp_path / "attributes.jsonl"
    table.write_text('{"category": "robin", "colour": "red"}\n')
    found = said(template(Spending(), text="A {colour} {category}.", attributes=str(table)))
    assert found["robin/001.png"] == "A red robin."
    failure = found["house wren/000.png"]
    assert (failure.reason, failure.detail) == ("no_answer", "no value for colour")


@pytest.mark.parametrize("text", ["A {colour} {category}.", "", " | "])
def test_a_template_that_cannot_be_filled_is_refused_before_it_runs(text):
    with pytest.raises(FdrdError, match="template: "):
        template(Spending(), text=text)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "c.jsonl",
            '{"file_name": "robin/001.png", "caption": "A robin,\u2028red."}\n\n{"file_name": "raw/x.png"}\n',
        ),
        ("c.csv", '\ufefffile_name,caption\n./robin/001.png,"A robin,\u2028red."\n'),
        ("c.csv", 'file_name,caption\n001.png,"A robin,\u2028red."\n'),
    ],
)
def test_captions_made_elsewhere_find_their_pictures(said, tmp_path, name, content):
    (tmp_path / name).write_text(content, "utf-8")
    found = said(reader(Spending(), file=str(tmp_path / name)))
    assert found.pop("robin/001.png") == "A robin,\u2028red."
    assert {answer.reason for answer in found.values()} == {"no_answer"}


def test_a_name_that_means_two_pictures_is_refused(said, raw, tmp_path):
    (raw / "house wren" / "001.png").write_bytes((raw / "house wren" / "002.png").read_bytes())
    table = tmp_path / "c.csv"
    table.write_text("file_name,caption\n001.png,A robin.\n")
    pictures = find_pictures(raw, 10**6).pictures
    captioner = reader(Spending(), file=str(table))
    with pytest.raises(FdrdError, match="write whole paths"):
        captioner.answer(iter([Question(picture, "") for picture in pictures]), lambda *_: None)
    table.write_text("file_name,caption\nrobin/001.png,A robin.\nrobin/001.png,A wren.\n")
    captioner = reader(Spending(), file=str(table))
    with pytest.raises(FdrdError, match="several rows"):
        captioner.answer(iter([Question(picture, "") for picture in pictures]), lambda *_: None)


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("c.jsonl", "{", "c.jsonl:1: not JSON"),
        ("c.jsonl", "[1]", "c.jsonl:1: a list"),
        ("c.jsonl", '\n{"caption": "A."}', "c.jsonl:2: neither"),
        ("c.csv", 'file_name,caption\n"1.png"x,y\n', "c.csv:2"),
        ("c.csv", "caption\nA.\n", "neither"),
        ("c.parquet", "", "ends in"),
        ("c.csv", b"\xff\xfe", "c.csv"),
    ],
)
def test_a_bad_table_is_one_line_with_its_place(tmp_path, name, content, what):
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FdrdError, match=what):
        read_rows(file)


def test_another_column_can_hold_the_captions(said, tmp_path):
    (tmp_path / "c.csv").write_text("file_name,blip\nrobin/001.png,A robin.\n")
    with pytest.raises(FdrdError, match="blip"):
        reader(Spending(), file=str(tmp_path / "c.csv"))
    found = said(reader(Spending(), file=str(tmp_path / "c.csv"), caption="blip"))
    assert found["robin/001.png"] == "A robin."
