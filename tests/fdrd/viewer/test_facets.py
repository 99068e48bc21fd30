"""What a filter selects and counts, against counting by hand; that a URL says all of it, and the table shows it."""

import re
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fdrd.viewer import facets
from fdrd.viewer.browse_pages import histogram
from fdrd.viewer.facets import Columns, State, parse_state, select

SPLITS, COLORS = ["train", "test"], ["red", "green", "blue"]


def columns(rows):
    """The columns of rows of (split, words, colors)."""
    names = ("domain", "category", "meta", "license", "length", "near")
    found = {name: (["any"], np.zeros(len(rows), np.int32), None) for name in names}
    found["split"] = (SPLITS, np.array([SPLITS.index(s) for s, _, _ in rows], np.int32), None)
    found["words"] = ([], np.array([words for _, words, _ in rows], np.int32), None)
    pairs = [(n, COLORS.index(c)) for n, (_, _, colors) in enumerate(rows) for c in sorted(colors)]
    numbers, codes = (
        np.array(side, np.int32) for side in (zip(*pairs, strict=True) if pairs else ([], []))
    )
    found["value"] = (COLORS, codes, numbers)
    for name in ("type", "flag"):
        found[name] = ([], np.zeros(0, np.int32), np.zeros(0, np.int32))
    return Columns(found)


ROWS = st.lists(
    st.tuples(st.sampled_from(SPLITS), st.integers(1, 9), st.sets(st.sampled_from(COLORS))),
    min_size=1,
)
CHOICES = st.fixed_dictionaries(
    {},
    optional={
        name: st.lists(st.sampled_from(labels), min_size=1, unique=True).map(tuple)
        for name, labels in (("split", SPLITS), ("value", COLORS))
    },
)


@settings(max_examples=80, deadline=None)
@given(ROWS, CHOICES)
def test_rows_and_counts_are_those_of_counting_by_hand(rows, chosen):
    selection = select(columns(rows), State(chosen=chosen), None, {})

    def fits(row, but=""):
        split, _, colors = row
        in_split = but == "split" or "split" not in chosen or split in chosen["split"]
        return in_split and (
            but == "value" or "value" not in chosen or bool(colors & set(chosen["value"]))
        )

    assert selection.rows.tolist() == [n for n, row in enumerate(rows) if fits(row)]
    facets = {facet.name: facet for facet in selection.facets}
    split = Counter(row[0] for row in rows if fits(row, "split"))
    color = Counter(c for row in rows if fits(row, "value") for c in row[2])
    for name, counts in (("split", split), ("value", color)):
        shown = {value.label: value.count for value in facets[name].values}
        assert shown == {**dict.fromkeys(chosen.get(name, ()), 0), **counts}


def test_orders_sort_the_same_rows():
    table = columns([("train", words, set()) for words in (5, 1, 9, 3)])
    for order, expected in (("short", [1, 3, 0, 2]), ("long", [2, 0, 3, 1])):
        assert select(table, State(order=order), None, {}).rows.tolist() == expected
    drawn = select(table, State(order="random"), None, {}).rows.tolist()
    assert sorted(drawn) == [0, 1, 2, 3]


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30), st.text(max_size=20), st.integers(1, 999))
def test_a_url_says_the_whole_state(text, value, page):
    from urllib.parse import parse_qsl

    state = State(text.strip(), {"category": (value,)}, "long", page)
    _, _, query = state.url(page=page).partition("?")
    assert parse_state(parse_qsl(query, keep_blank_values=True)) == state


def test_a_value_that_does_not_exist_selects_nothing_and_can_be_taken_back():
    selection = select(columns([("train", 1, set())]), State(chosen={"split": ("dev",)}), None, {})
    assert len(selection.rows) == 0
    (split,) = (facet for facet in selection.facets if facet.name == "split")
    first = split.values[0]
    assert (first.label, first.count, first.chosen) == ("dev", 0, True)


def test_choosing_a_value_leaves_the_others_of_its_facet_to_add(monkeypatch):
    monkeypatch.setattr(facets, "MATCHES", 7)
    table = columns([("train", 1, set()), ("test", 1, set())] * 10)
    scores = np.arange(20, dtype=np.float32)
    scores[19] = -np.inf
    selection = select(table, State(chosen={"split": ("test",)}), None, {}, scores=scores)
    assert selection.rows.tolist() == [17, 15, 13, 11, 9, 7, 5]
    split = next(each for each in selection.facets if each.name == "split")
    assert {value.label: value.count for value in split.values} == {"train": 4, "test": 3}


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=50))
def test_a_histogram_counts_every_value_once(values):
    chart = histogram("n", np.array(values, np.int32))
    assert len(chart.bars) <= 24
    for low, high, count, _ in chart.bars:
        assert count == sum(low <= value <= high for value in values)
    assert sum(count for _, _, count, _ in chart.bars) == len(values)


def test_the_table_is_that_of_the_filters(drawn, open_site):
    site = open_site(drawn / "set")
    index = site.context.library.current()
    test = index.columns.mask("split", ["test"])
    page = site.text("/table", split="test")
    assert f"Table of {test.sum()} records" in page
    assert page.count('<th scope="row">') == min(48, test.sum())
    words = re.search(r"Words of the caption: (\d+) to (\d+)", page)
    expected = index.columns.codes["words"][test]
    assert (int(words[1]), int(words[2])) == (expected.min(), expected.max())
    assert "No record matches" in site.text("/table", q="xyzzyxyzzy")
