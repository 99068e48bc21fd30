"""The tables of natural pairs and of text-hard negatives."""

from dataclasses import replace

import pytest

from benchmark.reporting.comparison import group_results
from benchmark.reporting.pages import report
from benchmark.reporting.tables import negatives_parts, pairs_parts
from benchmark.result import read_result, write_result
from benchmark.results import compare


@pytest.fixture
def result(zero_shot):
    return zero_shot


def changed(result, **shares):
    """Return the result with the shares of `all` changed."""
    found = result.metrics.hard_negatives
    found = {**found, "all": replace(found["all"], **shares)}
    return replace(result, metrics=replace(result.metrics, hard_negatives=found))


def table_of(build, result):
    (comparison,) = group_results([result])
    return build(comparison)


def test_pairs_have_text_image_and_group_beside_guessing_and_their_number(result):
    table, _ = table_of(pairs_parts, result)
    assert table.head == ["metric", "pairs", "zero_shot", "text-only baseline", "guessing"]
    by_name = {line[0]: line[1:] for line in table.rows}
    group = result["category pairs group"]
    assert by_name["category pairs group"] == ["8", f"{100 * group:.0f}", "0", "17"]
    assert by_name["attribute pairs text"][0::3] == ["12", "25"]


@pytest.mark.parametrize("format", ["markdown", "latex", "csv", "html"])
def test_every_format_has_them(result, format):
    assert "attribute pairs group" in report([result], format=format)


def test_a_result_computes_them_again(result, tmp_path):
    bare = dict(result.metrics.by_direction)
    del bare["category pairs"]
    lacking = replace(result, metrics=replace(result.metrics, by_direction=bare))
    write_result(lacking, tmp_path / "r.json")
    assert read_result(tmp_path / "r.json").metrics.by_direction == result.metrics.by_direction


def test_a_split_without_pairs_has_no_table(result):
    assert table_of(pairs_parts, replace(result, natural_pairs={})) == []


@pytest.mark.parametrize(("accuracy", "says"), [(0.5, False), (0.25, True)])
def test_says_when_text_alone_is_above_every_method(result, accuracy, says):
    rows = result.metrics.hard_negatives["all"].rows // 2
    other = changed(
        result, accuracy=accuracy, text_only=0.5, text_hard=accuracy, text_hard_rows=rows
    )
    sentence = "Text alone reaches 50 %: these negatives say little about vision."
    assert (sentence in table_of(negatives_parts, other)) == says


@pytest.mark.parametrize(
    ("shares", "cells"),
    [
        ({"text_only": 0.75, "text_hard": 0.5, "text_hard_rows": 6}, ["6", "50", "0", "–"]),
        ({"text_only": 1.0, "text_hard": None, "text_hard_rows": 0}, None),
    ],
    ids=["some", "none"],
)
def test_text_hard_rows_have_their_own_number(result, shares, cells):
    table, *_ = table_of(negatives_parts, changed(result, **shares))
    by_kind = {line[0]: line[1:] for line in table.rows}
    assert by_kind.get("all, text-hard") == cells


def test_compare_shows_them(result):
    other = replace(result, settings=replace(result.settings, label="other"))
    parts = compare([result, other], "zero_shot").parts()
    assert [part.title for part in parts if not isinstance(part, str)][-1] == "Natural pairs"


def test_small_types_share_a_row_and_kinds_do_not(result):
    """A row of categories and attributes together would say nothing of either."""
    whole = result.metrics.hard_negatives["all"]
    share = replace(whole, rows=5, accuracy=0.4, text_only=None)
    kinds = ("all", "category", "attribute", "attribute: color", "attribute: pose")
    metrics = replace(result.metrics, hard_negatives=dict.fromkeys(kinds, share))
    table, *_ = table_of(negatives_parts, replace(result, metrics=metrics))
    names = [line[0] for line in table.rows if "text-hard" not in line[0]]
    assert names == ["all", "category", "attribute", "2 with fewer than 20"]
