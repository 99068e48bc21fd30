"""Two runs side by side, a page of them, and what the filters would reject of captions that are there."""

import json
import re
from html.parser import HTMLParser

import pytest

from fdrd.captioning import AnswerCache, Spending
from fdrd.captioning.captioners.template import template
from fdrd.captioning.comparison import compare
from fdrd.captioning.measure import digest, measure
from fdrd.captioning.page import render
from fdrd.captioning.pictures import find_pictures
from fdrd.captioning.rounds import Desk, Plan
from fdrd.captioning.run import run
from fdrd.captioning.written import read_written
from fdrd.errors import FdrdError
from fdrd.record import ImageRef, Record, Source


def caption(source, out, text, score=None, **plan):
    found = find_pictures(source, 10**6)
    with AnswerCache(source.parent / "answers.sqlite") as cache:
        desk = Desk(template(Spending(), text=text), None, score, cache)
        run(source, out, found, found.pictures, Plan(**plan), desk, Spending())
    return read_written(out)


@pytest.fixture
def source(write, draw, tmp_path):
    for number in range(6):
        write(f"{('wren', 'robin')[number % 2]}/{number}.png", draw(number))
    return tmp_path / "raw"


def test_two_runs_are_compared_picture_by_picture(source, tmp_path):
    one = caption(
        source, tmp_path / "one", "A {category} sits on a post.", lambda some, _: [0.25] * len(some)
    )
    two = caption(source, tmp_path / "two", "A red {category} sits on a mossy post in the rain.")
    found = compare(one, two)
    assert (found.both, found.equal) == (6, 0)
    assert found.common_words == pytest.approx(5 / 10)  # "a" is one word, however often it is there
    first, second = found.sides
    assert (first.words, second.words) == (6.0, 11.0)
    assert (first.distinct, second.distinct) == (2, 2)
    assert second.attributes > first.attributes
    assert (first.clip_score, second.clip_score) == (0.25, None)
    assert (first.rounds, first.noise) == (1.0, 0)
    assert compare(one, one).equal == 6


def test_what_a_run_rejected_is_counted_and_left_out_of_the_means(source, tmp_path):
    one = caption(source, tmp_path / "one", "A {category} sits on a post.")
    two = caption(
        source, tmp_path / "two", "A {category} sits on a post.", lambda some, _: [0.1] + [0.3] * (len(some) - 1),
        least_score=0.2,
    )  # fmt: skip
    found = compare(one, two)
    assert (found.both, found.equal) == (5, 5)
    assert found.sides[1].rejected == {"clip_score": 1}


def test_sources_of_other_pictures_are_not_compared(source, tmp_path, write, draw):
    one = caption(source, tmp_path / "one", "A {category} sits on a post.")
    (tmp_path / "other" / "wren").mkdir(parents=True)
    (tmp_path / "other" / "wren" / "9.png").write_bytes(draw(9))
    (tmp_path / "other" / "wren" / "9.txt").write_text("A wren.")
    with pytest.raises(FdrdError, match="no record in common"):
        compare(one, read_written(tmp_path / "other"))


class Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.sources, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [
            value for name, value in attrs if name in ("src", "href") or name.startswith("on")
        ]

    def handle_data(self, data):
        self.text.append(data)


def test_a_page_holds_everything_and_runs_nothing(tmp_path, write, draw):
    """Names and captions of a hostile source are shown as they are."""
    evil = "<script>alert(1)</script>"
    write("x&y/1.png", draw(1))
    write("x&y/2.png", b"no picture")
    lines = [
        {"file_name": "x&y/1.png", "caption": f'A {evil} </style> " onload=x'},
        {"file_name": "x&y/2.png", "caption": "A caption of no picture.", "category": evil},
    ]
    write("metadata.jsonl", "\n".join(map(json.dumps, lines)))
    page = render([read_written(tmp_path / "raw")], 10)
    assert evil not in page
    found = Elements()
    found.feed(page)
    assert "script" not in found.tags
    assert f'A {evil} </style> " onload=x' in found.text
    assert "the picture is not there" in found.text
    (source,) = found.sources
    assert source.startswith("data:image/jpeg;base64,")
    assert "default-src 'none'" in page


def test_a_page_shows_the_same_pictures_of_all_runs_rejected_ones_among_them(source, tmp_path):
    one = caption(source, tmp_path / "one", "A {category} sits on a post.")
    two = caption(source, tmp_path / "two", "A {category} can be seen in the image.")
    page = render([one, two], 4)
    assert render([one, two], 4) == page
    assert len(re.findall("<article>", page)) == 4
    assert page.count("rejected: meta_talk") == 4
    assert page.count("<img") == 4
    assert re.findall("raw/[a-z]+/[0-9].png", page) == re.findall(
        "raw/[a-z]+/[0-9].png", render([one], 4)
    )


def row(caption, category="wren", domain="test.json"):
    place = ImageRef("1.png")
    return Record(
        "d/1", place, caption, category, Source("1.png", origin=f"{domain}: key 1"), domain=domain
    )


def test_filters_are_measured_each_by_itself_and_on_captions_as_they_would_be_worded():
    rows = [
        row("A wren sits on a mossy post."),
        row("The image shows a wren on a mossy post."),
        row("A bird on a mossy post is the subject of the image."),
        row("A robin sits on a mossy post."),
        row("A robin sits on a mossy post.", "robin"),
    ]
    (found,) = measure(rows)
    assert (found.rows, found.rejected, found.after) == (5, 3, 2)
    meta = found.filters["meta_talk"]
    assert (meta.rows, meta.mended, meta.alone) == (2, 1, 1)
    assert (digest(rows[1].caption), "key 1") in meta.examples
    assert found.filters["category_contradicted"].rows == 1
    assert found.filters["category_not_named"].rows == 2


def test_scores_are_measured_where_they_are_given():
    (found,) = measure(
        [row("A wren sits here now."), row("A wren sleeps here now.")], [0.1, 0.3], 0.2
    )
    assert (found.rejected, found.filters["clip_score"].rows) == (1, 1)
