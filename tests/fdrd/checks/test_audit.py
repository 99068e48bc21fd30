import json
import os
import random

import pytest
from msgspec.structs import replace
from rich.console import Console

import fdrd
from fdrd.checks.audits import (
    audit_records,
    exceeded,
    find_rows,
    markdown,
    parse_limits,
    source_records,
    tables,
)
from fdrd.checks.flaws import caption_flaws, wrong_articles
from fdrd.checks.tally import KeySet, Tally
from fdrd.checks.text_only import text_only_accuracy
from fdrd.errors import FdrdError
from fdrd.record import ImageRef, Negative, Record, Source
from fdrd.text.tokens import estimate_clip_tokens


def pair(caption, category, *negatives, id="1"):
    wrong = tuple(Negative(text, named, "category") for text, named in negatives)
    image, source = ImageRef("1.jpg"), Source("1.jpg")
    return Record(id, image, caption, category, source, domain="pets", negatives=wrong)


def test_each_flaw_is_counted_by_row_and_by_negative():
    wrong = [("A pug.", "pug"), ("A ant.", "ant"), ("a  ANT.", "ant"), ("A boxer.", "boxer")]
    records = [
        pair("A pug.", "pug", *wrong),
        pair("A boxer.", "boxer", ("A mexican boxer.", "")),
        pair("A boxer.", "boxer"),
        pair("This is a azalea_bush.The red red dog", "cat"),
    ]
    (found,) = audit_records(records)
    assert (found.rows, found.captions, found.sharing) == (4, 3, 2)
    assert (found.categories, found.negatives) == (3, 5)
    flaws = "category_not_named wrong_article glued_sentences doubled_word no_full_stop underscore"
    assert {flaw: n for flaw, n in found.flaws.items() if n} == dict.fromkeys(flaws.split(), 1)
    flaws = "equal repeated true_elsewhere own_category unknown_category wrong_article"
    # "ANT" may be spelled out, so its article is not judged.
    assert found.negative_flaws == dict.fromkeys(flaws.split(), (1, 1))


def test_findings_name_the_rows_behind_the_counts():
    records = [
        pair("A pug.", "pug", ("A pug.", "pug"), ("A ant.", "ant"), ("A ant.", "ant"), id="a"),
        pair("A boxer.", "boxer", id="b"),
        pair("A boxer.", "boxer", ("A pug.", "pug"), id="c"),
    ]
    near = [
        replace(each, group="near-1", source=Source(f"{each.id}.jpg", sha256=each.id))
        for each in records[1:]
    ]
    found = list(find_rows([records[0], *near]))
    assert {(each.reason, each.id, each.text) for each in found} == {
        ("negative_equal", "a", "A pug."),
        ("negative_own_category", "a", "A pug."),
        ("negative_repeated", "a", "A ant."),
        ("negative_wrong_article", "a", "A ant."),
        ("negative_true_elsewhere", "c", "A pug."),
        ("shared_caption", "b", "A boxer."),
        ("shared_caption", "c", "A boxer."),
        ("near_duplicate", "b", "near-1"),
        ("near_duplicate", "c", "near-1"),
    }
    assert exceeded(found, {"negative_wrong_article": 1, "shared_caption": 2}) == [
        "2 negative_wrong_article, the limit is 1"
    ]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("negative_equals=0", "try negative_equal"),
        ("shared_caption", "shared_caption=0"),
        ("shared_caption=-1", "shared_caption=0"),
        ("shared_caption=" + "9" * 5000, "shared_caption=0"),
    ],
)
def test_a_limit_that_is_none_is_an_error(option, message):
    with pytest.raises(FdrdError, match=message):
        parse_limits([option])


def test_flaws_of_captions():
    """ "A", "pug", "." and two halves of "incomprehensible" are five pieces, with begin and end seven."""
    assert list(caption_flaws("An hour-old pug sits on a euphonium near an SUV.", "pug")) == []
    found = wrong_articles("a hour, an unicorn, an Egyptian; type A is it")
    assert found == ["a hour", "an unicorn"]
    assert estimate_clip_tokens("A incomprehensible pug.") == 7
    assert list(caption_flaws("pug " * 76 + ".", "pug")) == ["too_long", "doubled_word"]


def test_attribute_coverage_is_a_share_of_captions():
    captions = {"A red pug.": "pug", "A red and blue boxer.": "boxer", "A boxer.": "boxer"}
    (found,) = audit_records([pair(*each) for each in captions.items()])
    assert found.coverage["color"] == pytest.approx(2 / 3)
    assert found.coverage_of_category["boxer"]["color"] == 0.5
    assert found.coverage["pose"] == 0


def rows(draw_negative, size=600):
    generator = random.Random(0)
    found = []
    for i in range(size):
        name = generator.choice("abcdefgh")
        wrong = f"photo {i} of a {draw_negative(generator, name)}"
        found.append((f"photo {i} of a {name}", [wrong]))
    return found


@pytest.mark.parametrize("reader", ["words", "context"])
def test_the_baseline_is_at_chance_if_true_and_wrong_words_are_balanced(reader):
    def other(generator, name):
        return generator.choice([letter for letter in "abcdefgh" if letter != name])

    found = text_only_accuracy(rows(other), reader)
    assert found.chance == 0.5
    assert abs(found.accuracy - 0.5) < 0.1


def test_the_baseline_finds_a_word_that_is_never_true_and_guesses_among_equal_captions():
    assert text_only_accuracy(rows(lambda generator, name: "z")).accuracy > 0.99
    equal = [(f"caption {i}", [f"caption {i}"] * 3) for i in range(100)]
    assert text_only_accuracy(equal).accuracy == 0.25


def test_only_the_context_reader_finds_implausible_combinations():
    generator = random.Random(0)
    table = []
    for i in range(800):
        right, wrong = generator.sample([("hairless", "sphynx"), ("woolly", "puli")], 2)
        table.append((f"a {right[0]} {i} {right[1]}", [f"a {right[0]} {i} {wrong[1]}"]))
    assert abs(text_only_accuracy(table, "words").accuracy - 0.5) < 0.1
    assert text_only_accuracy(table, "context").accuracy > 0.95


def test_the_baseline_needs_rows_in_every_fold():
    assert text_only_accuracy([("a", ["b"])]) is None
    assert audit_records([pair("A pug.", "pug", ("A boxer.", "boxer"))])[0].text_only == {}


def test_an_audit_can_be_json_markdown_and_tables():
    pairs = [pair(f"A pug {i}.", "pug", (f"A boxer {i}.", "boxer"), id=str(i)) for i in range(40)]
    found = audit_records(pairs)
    written = json.loads(json.dumps(found[0].to_json()))
    assert written["text_only"]["category"]["words"]["rows"] == 40
    text = markdown(found)
    assert text.startswith("## Audit")
    assert "| pets | category | 40 | 50.0% |" in text
    console = Console(width=160, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    console.print(tables(found))
    assert "Text-only baseline" in console.export_text()


def test_annotations_are_audited_file_by_file_without_their_images(tmp_path, write):
    cat = {"file_name": "tabby_1", "positive": "A tabby_cat.The end.", "class_name": "tabby cat"}
    dog = {"file_name": "pug_2", "positive": "A pug.", "class_name": "pug"}
    negatives = ["An pug. The end.", "A tabby cat. The end."]
    write("pets_test.json", {"tabby_1": {**cat, "negative": negatives}, "pug_2": dog})
    write("pets_train.json", {"tabby_3": {**cat, "file_name": "tabby_3"}})
    records, rules = source_records(tmp_path / "raw")
    assert [record.domain for record in records] == ["pets_test.json"] * 2 + ["pets_train.json"]
    assert [(negative.caption, negative.category) for negative in records[0].negatives] == [
        ("A pug. The end.", "pug"),
        ("A tabby cat. The end.", "tabby cat"),
    ]
    assert rules == {"caption_glued": 2, "caption_underscores": 2, "negative_article": 1}
    assert [found.rows for found in fdrd.audit(tmp_path / "raw")] == [2, 1]


def test_a_source_without_records_is_an_error(tmp_path, write):
    write("pets_test.json", '{"x": {"positive": 1}}')
    with pytest.raises(FdrdError, match="no annotation is a valid record"):
        fdrd.audit(tmp_path / "raw")


def counted(records):
    tally = Tally("birds")
    for record in records:
        tally.count(record, KeySet([]))
    return tally


def test_counts_of_parts_add_up_to_the_counts_of_the_whole():
    """Sums of thirds would differ in the last digit; a card must not depend on how rows were divided."""
    texts = ["A cat.", "A dog.", "An ant.", "A fat cat.", "A cow."]
    wrong = [(text, "cat") for text in texts]
    records = [pair("A pug.", "pug", *wrong[: n % 6], id=str(n)) for n in range(60)]
    whole = counted(records)
    assert whole.rows_with_negatives == 50
    assert whole.longest_is_true == 10 / 2 + 10 / 3
    assert whole.negative_words == pytest.approx(10 * (2 + 2 + 2 + 9 / 4 + 11 / 5))
    for size in (1, 7, 23):
        sum_ = Tally("birds")
        for first in range(0, len(records), size):
            sum_.add(counted(records[first : first + size]))
        assert sum_ == whole
