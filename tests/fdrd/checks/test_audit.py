import json
import os
import random
from pathlib import Path

import pytest
from rich.console import Console

from fdrd.checks.audit_tables import markdown, tables
from fdrd.checks.audits import audit_records
from fdrd.checks.flaws import caption_flaws, wrong_articles
from fdrd.checks.text_only import text_only_accuracy
from fdrd.negatives import make_catalogue, parse_given
from fdrd.record import ImageRef, Negative, Record, Source
from fdrd.text.tokens import estimate_clip_tokens

REAL = Path(os.environ.get("FDRD_REAL", Path(__file__).parents[3].parent / "shared" / "real"))


def pair(caption, category, *negatives, id="1"):
    wrong = tuple(Negative(text, named, "category") for text, named in negatives)
    return Record(
        id, ImageRef("1.jpg"), caption, category, Source("1.jpg"), domain="pets", negatives=wrong
    )


def test_each_flaw_is_counted_by_row_and_by_negative():
    (found,) = audit_records(
        [
            pair(
                "A pug.",
                "pug",
                ("A pug.", "pug"),
                ("A ant.", "ant"),
                ("a  ANT.", "ant"),
                ("A boxer.", "boxer"),
            ),
            pair("A boxer.", "boxer", ("A mexican boxer.", "")),
            pair("A boxer.", "boxer"),
            pair("This is a azalea_bush.The red red dog", "cat"),
        ]
    )
    assert (found.rows, found.captions, found.sharing, found.categories, found.negatives) == (
        4,
        3,
        2,
        3,
        5,
    )
    assert {flaw: n for flaw, n in found.flaws.items() if n} == {
        "category_not_named": 1,
        "wrong_article": 1,
        "glued_sentences": 1,
        "doubled_word": 1,
        "no_full_stop": 1,
        "underscore": 1,
    }
    assert found.negative_flaws == {
        "equal": (1, 1),
        "repeated": (1, 1),
        "true_elsewhere": (1, 1),
        "own_category": (1, 1),
        "unknown_category": (1, 1),
        "wrong_article": (1, 1),  # "ANT" may be spelt: no verdict
    }


def test_a_sound_caption_has_no_flaw():
    assert list(caption_flaws("An hour-old pug sits on a euphonium near an SUV.", "pug")) == []


def test_articles_are_judged_by_the_sound_of_the_word():
    assert wrong_articles("a hour, an unicorn, an Egyptian; type A is it") == [
        "a hour",
        "an unicorn",
    ]


def test_tokens_are_counted_with_begin_and_end():
    """ "A", "pug", "." and two halves of "incomprehensible" are five pieces, with begin and end seven."""
    assert estimate_clip_tokens("A incomprehensible pug.") == 7
    assert list(caption_flaws("pug " * 76 + ".", "pug")) == ["too_long", "doubled_word"]


def test_coverage_is_a_share_of_captions():
    (found,) = audit_records(
        [
            pair("A red pug.", "pug"),
            pair("A red and blue boxer.", "boxer"),
            pair("A boxer.", "boxer"),
        ]
    )
    assert found.coverage["colour"] == pytest.approx(2 / 3)
    assert found.coverage_of_category["boxer"]["colour"] == 0.5
    assert found.coverage["pose"] == 0


def rows(draw_negative, size=600):
    generator = random.Random(0)
    return [(f"photo {i} of a {name}", [f"photo {i} of a {draw_negative(generator, name)}"])
            for i in range(size) for name in [generator.choice("abcdefgh")]]  # fmt: skip


def test_a_reader_is_at_chance_where_right_and_wrong_words_are_alike():
    def other(generator, name):
        return generator.choice([letter for letter in "abcdefgh" if letter != name])

    for reader in ("words", "context"):
        found = text_only_accuracy(rows(other), reader)
        assert found.chance == 0.5
        assert abs(found.accuracy - 0.5) < 0.1


def test_a_reader_finds_a_word_that_is_never_right():
    found = text_only_accuracy(rows(lambda generator, name: "z"))
    assert found.accuracy > 0.99


def test_only_the_reader_of_context_finds_words_that_do_not_go_together():
    generator = random.Random(0)
    table = []
    for i in range(800):
        right, wrong = generator.sample([("hairless", "sphynx"), ("woolly", "puli")], 2)
        table.append((f"a {right[0]} {i} {right[1]}", [f"a {right[0]} {i} {wrong[1]}"]))
    assert abs(text_only_accuracy(table, "words").accuracy - 0.5) < 0.1
    assert text_only_accuracy(table, "context").accuracy > 0.95


def test_equal_captions_are_a_guess():
    assert (
        text_only_accuracy([(f"caption {i}", [f"caption {i}"] * 3) for i in range(100)]).accuracy
        == 0.25
    )


def test_too_few_rows_have_no_reader():
    assert text_only_accuracy([("a", ["b"])]) is None
    assert audit_records([pair("A pug.", "pug", ("A boxer.", "boxer"))])[0].blind == {}


def test_the_audit_is_json_markdown_and_tables():
    found = audit_records(
        [pair(f"A pug {i}.", "pug", (f"A boxer {i}.", "boxer"), id=str(i)) for i in range(40)]
    )
    assert json.loads(json.dumps(found[0].to_json()))["blind"]["category"]["words"]["rows"] == 40
    text = markdown(found)
    assert text.startswith("## Audit")
    assert "| pets | category | 40 | 50.0% |" in text
    console = Console(width=160, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    console.print(tables(found))
    assert "Text-only baseline" in console.export_text()


def test_an_audit_of_nothing_is_empty():
    assert audit_records([]) == ()
    assert markdown(()).startswith("## Audit")


@pytest.mark.skipif(not REAL.is_dir(), reason="the published annotations are not here")
@pytest.mark.parametrize(
    ("file", "size", "equal", "repeated", "words"),
    [
        ("flower_test", 2463, (96, 263), (202, 315), 0.39),
        ("pets_test", 3669, (344, 362), (581, 608), 0.15),
    ],
)
def test_the_flaws_of_the_published_negatives_are_counted(file, size, equal, repeated, words):
    records = []
    for key, fields in json.loads((REAL / "annotations_only" / f"{file}.json").read_text()).items():
        category = (fields.get("class_name") or key.rsplit("_", 1)[0]).replace("_", " ")
        records.append(
            pair(fields["positive"], category, *((text, "") for text in fields["negative"]), id=key)
        )
    catalogue = make_catalogue(records)
    for place, record in enumerate(records):
        parsed = [
            parse_given(n.caption, record.caption, record.category, catalogue)
            for n in record.negatives
        ]
        records[place] = Record(record.id, record.image, record.caption, record.category, record.source,
                                negatives=tuple(parsed))  # fmt: skip
    (found,) = audit_records(records, text_only=False)
    assert found.rows == size
    assert found.negative_flaws["equal"] == equal
    assert found.negative_flaws["repeated"] == repeated
    read = text_only_accuracy([(r.caption, [n.caption for n in r.negatives]) for r in records])
    assert read.accuracy > words
