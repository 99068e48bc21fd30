import difflib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdrd.record import Attribute
from fdrd.text.grammar import MAX_LETTERS, MAX_WORDS, plural
from fdrd.text.normalize import (
    move_spans,
    normalize_caption,
    normalize_category,
    normalize_described,
)
from tests.command import run_python


@pytest.mark.parametrize(
    ("before", "after", "rules"),
    [
        ("This is banded.The image.", "This is banded. The image.", ("caption_glued",)),
        ("A SUV 2000.The car.", "A SUV 2000. The car.", ("caption_glued",)),
        ("An Apply_Eye_Makeup.", "An Apply Eye Makeup.", ("caption_underscores",)),
        ("  Two\n words ", "Two words", ("caption_whitespace",)),
        ("Cafe\u0301.", "Caf\u00e9.", ("caption_whitespace",)),
        ("A U.S.A. flag, e.g. One", "A U.S.A. flag, e.g. One", ()),
        ("A 3.5 litre, v1.Two", "A 3.5 litre, v1.Two", ()),
        ("_emphasis_ kept", "_emphasis_ kept", ()),
    ],
)
def test_each_rule_fixes_its_flaw(before, after, rules):
    assert normalize_caption(before) == (after, rules)


@given(st.text())
def test_normalizing_twice_changes_nothing(caption):
    once = normalize_caption(caption)[0]
    assert normalize_caption(once) == (once, ())
    category = normalize_category(caption)[0]
    assert normalize_category(category) == (category, ())


def test_spans_move_with_a_fixed_article():
    after, rules = normalize_described("This is a azalea with red petals.", "azalea")
    assert rules == ("article_fixed",)
    red = Attribute("color", "red", 22, 25)
    (moved,) = move_spans([red], "This is a azalea with red petals.", after)
    assert (moved.value, moved.start, after[23:26]) == ("red", 23, "red")


@pytest.mark.parametrize("change", ["ab_", "a\u200b", "a&amp;", "a  "])
def test_following_spans_through_many_changes_takes_time_in_proportion(change, monkeypatch):
    compared = []

    class Counted(difflib.SequenceMatcher):
        def __init__(self, junk, a, b, autojunk):
            compared.append(len(a) * len(b))
            super().__init__(junk, a, b, autojunk)

    monkeypatch.setattr(difflib, "SequenceMatcher", Counted)
    words = ["red", "brown", "wren"]
    before = f" {change * (900 // len(change))} ".join(words)
    after = normalize_caption(before)[0]
    starts = map(before.index, words)
    spans = [Attribute("x", w, at, at + len(w)) for w, at in zip(words, starts, strict=True)]
    assert [span.value for span in move_spans(spans, before, after)] == words
    assert sum(compared) < 80 * len(before)
    with pytest.raises(ValueError, match="so many changes"):
        move_spans(spans, before := "red " + "e\u0301\u0316" * 600, normalize_caption(before)[0])
    assert sum(compared) < 80 * len(before)


def test_spans_that_are_changed_themselves_stay():
    """An article inside of a span is fixed with it, and so are sentences that stick together."""
    before = "This is a azalea. Type R.A  white car"
    after = normalize_described(before, "azalea")[0]
    spans = [Attribute("x", "a azalea", 8, 16), Attribute("y", "R.A", 23, 26)]
    assert [span.value for span in move_spans(spans, before, after)] == ["an azalea", "R. A"]


def test_spans_move_with_their_words():
    before = "A  dark_red bird.The sky is blue."
    after = normalize_caption(before)[0]
    spans = [Attribute("color", "dark_red", 3, 11), Attribute("color", "blue", 28, 32)]
    assert [(a.value, after[a.start : a.end]) for a in move_spans(spans, before, after)] == [
        ("dark red", "dark red"),
        ("blue", "blue"),
    ]


@pytest.mark.parametrize("earlier", ["typeguard", "sys"])
def test_typeguard_works_before_and_after_inflect_was_imported(earlier):
    code = (
        f"import sys, {earlier}; before = sys.modules.get('typeguard')\n"
        "from fdrd.text.grammar import article; article('hour')\n"
        "assert sys.modules.get('typeguard') is before\n"
        "import typeguard; typeguard.check_type(1, int)"
    )
    run_python("-c", code)


def test_phrases_beyond_a_limit_have_no_plural():
    words = "very " * (MAX_WORDS - 1) + "bird"
    assert plural(words) == f"{words}s"
    assert plural(f"very {words}") == f"very {words}"
    letters = "x" * MAX_LETTERS
    assert plural(letters) == f"{letters}s" or plural(letters) == f"{letters}es"
    assert plural(f"x{letters}") == f"x{letters}"
