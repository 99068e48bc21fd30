"""Captions from tables: templates with attributes, and captions made elsewhere."""

import pytest

from fdrd.captioning import AnswerCache, Question, Spending
from fdrd.captioning.captioners.from_table import reader, template
from fdrd.captioning.captioning_run import CaptioningSession
from fdrd.captioning.uncaptioned import find_uncaptioned
from fdrd.errors import FdrdError


@pytest.fixture
def captions(raw, tmp_path):
    def captions(captioner):
        """Return what a captioner says about each image, by path; nothing of it is cached."""
        questions = [Question(image, "") for image in find_uncaptioned(raw).images]
        with AnswerCache(tmp_path / "answers.sqlite") as cache:
            answers = CaptioningSession(captioner, cache).ask(captioner, questions)
            assert len(cache) == 0
        return {
            question.image.path: getattr(answer, "text", answer)
            for question, answer in zip(questions, answers, strict=True)
        }

    return captions


def test_a_template_uses_attributes_of_the_category_and_of_the_image(captions, tmp_path):
    table = tmp_path / "attributes.csv"
    table.write_text(
        "file_name,category,color,pose\n,House_Wren,brown,\n,robin,red,\nrobin/001.png,,orange,sleeps\n"
    )
    text = "{an color} {category} {pose} in the shade. | {a color} {category} sits in the shade."
    found = captions(template(Spending(), text=text, attributes=str(table)))
    assert found["house wren/000.png"] == "A brown house wren sits in the shade."
    assert found["robin/001.png"] == "An orange robin sleeps in the shade."
    assert found["robin/003.png"] == "A red robin sits in the shade."


def test_a_missing_value_is_a_failure_with_its_name(captions, tmp_path):
    table = tmp_path / "attributes.jsonl"
    table.write_text('{"category": "robin", "color": "red"}\n')
    found = captions(template(Spending(), text="A {color} {category}.", attributes=str(table)))
    assert found["robin/001.png"] == "A red robin."
    failure = found["house wren/000.png"]
    assert (failure.reason, failure.detail) == ("no_answer", "no value for color")


@pytest.mark.parametrize("text", ["A {color} {category}.", "", " | "])
def test_a_template_that_cannot_be_filled_in_is_refused_before_the_run(text):
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
def test_captions_made_elsewhere_find_their_images(captions, tmp_path, name, content):
    (tmp_path / name).write_text(content, "utf-8")
    found = captions(reader(Spending(), file=str(tmp_path / name)))
    assert found.pop("robin/001.png") == "A robin,\u2028red."
    assert {answer.reason for answer in found.values()} == {"no_answer"}


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ("001.png,A robin.\n", "write full paths"),
        ("robin/001.png,A robin.\nrobin/001.png,A wren.\n", "several rows"),
    ],
)
def test_an_ambiguous_name_is_refused(captions, raw, tmp_path, rows, what):
    (raw / "house wren" / "001.png").write_bytes((raw / "house wren" / "002.png").read_bytes())
    (tmp_path / "c.csv").write_text("file_name,caption\n" + rows)
    with pytest.raises(FdrdError, match=what):
        captions(reader(Spending(), file=str(tmp_path / "c.csv")))


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("c.jsonl", "{", "c.jsonl, line 1: not JSON"),
        ("c.jsonl", "[1]", "c.jsonl, line 1: a list"),
        ("c.jsonl", '\n{"caption": "A."}', "c.jsonl, line 2: neither"),
        ("c.csv", 'file_name,caption\n"1.png"x,y\n', "c.csv, line 2"),
        ("c.csv", "caption\nA.\n", "neither"),
        ("c.parquet", "", "ends in"),
        ("c.csv", b"\xff\xfe", "c.csv"),
    ],
)
def test_an_error_in_a_table_names_the_line(tmp_path, name, content, what):
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FdrdError, match=what):
        reader(Spending(), file=str(file))


def test_another_column_can_hold_the_captions(captions, tmp_path):
    (tmp_path / "c.csv").write_text("file_name,blip\nrobin/001.png,A robin.\n")
    with pytest.raises(FdrdError, match="blip"):
        reader(Spending(), file=str(tmp_path / "c.csv"))
    found = captions(reader(Spending(), file=str(tmp_path / "c.csv"), caption="blip"))
    assert found["robin/001.png"] == "A robin."


def test_copies_of_an_image_can_have_different_captions(captions, raw, tmp_path):
    (raw / "robin" / "copy.png").write_bytes((raw / "robin" / "001.png").read_bytes())
    rows = "file_name,caption\n001.png,A robin.\ncopy.png,A second robin.\n"
    (tmp_path / "c.csv").write_text(rows)
    found = captions(reader(Spending(), file=str(tmp_path / "c.csv")))
    assert found["robin/001.png"] == "A robin."
    assert found["robin/copy.png"] == "A second robin."
