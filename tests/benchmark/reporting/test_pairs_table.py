"""The tables of natural pairs and of text-hard negatives."""

import dataclasses

import pytest

from benchmark.reporting.comparison import group_results
from benchmark.reporting.pages import report
from benchmark.reporting.significance import compare
from benchmark.reporting.tables import negatives_parts, pairs_parts
from benchmark.result import read_result, write_result
from tests.running import run_method


@pytest.fixture(scope="module")
def result(tiny_dataset, make_clip):
    return run_method("zero_shot", tiny_dataset, backbone=make_clip())


def changed(result, **shares):
    """Return the result with the shares of `all` changed."""
    found = dict(result.metrics.hard_negatives)
    found["all"] = dataclasses.replace(found["all"], **shares)
    return dataclasses.replace(
        result, metrics=dataclasses.replace(result.metrics, hard_negatives=found)
    )


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
    lacking = dataclasses.replace(
        result, metrics=dataclasses.replace(result.metrics, by_direction=bare)
    )
    write_result(lacking, tmp_path / "r.json")
    assert read_result(tmp_path / "r.json").metrics.by_direction == result.metrics.by_direction


def test_a_split_without_pairs_has_no_table(result):
    assert table_of(pairs_parts, dataclasses.replace(result, natural_pairs={})) == []


def test_says_when_text_alone_is_above_every_method(result):
    rows = result.metrics.hard_negatives["all"].rows
    below = changed(result, accuracy=0.5, text_only=0.5, text_hard=0.5, text_hard_rows=rows // 2)
    assert not any(": these negatives say" in each for each in table_of(negatives_parts, below)[1:])
    above = changed(result, accuracy=0.25, text_only=0.5, text_hard=0.25, text_hard_rows=rows // 2)
    sentence = "Text alone reaches 50 %: these negatives say little about vision."
    assert sentence in table_of(negatives_parts, above)


def test_text_hard_rows_have_their_own_number(result):
    some = changed(result, text_only=0.75, text_hard=0.5, text_hard_rows=6)
    table, *_ = table_of(negatives_parts, some)
    by_kind = {line[0]: line[1:] for line in table.rows}
    assert by_kind["all, text-hard"] == ["6", "50", "0", "–"]
    none = changed(result, text_only=1.0, text_hard=None, text_hard_rows=0)
    table, *_ = table_of(negatives_parts, none)
    assert "all, text-hard" not in [line[0] for line in table.rows]


def test_compare_shows_them(result):
    other = dataclasses.replace(
        result, settings=dataclasses.replace(result.settings, label="other")
    )
    parts = compare([result, other], "zero_shot").parts()
    assert [part.title for part in parts if not isinstance(part, str)][-1] == "Natural pairs"


def test_small_types_share_a_row_and_kinds_do_not(result):
    """A row of categories and attributes together would say nothing of either."""
    whole = result.metrics.hard_negatives["all"]
    share = dataclasses.replace(whole, rows=5, accuracy=0.4, text_only=None)
    shares = dict.fromkeys(
        ("all", "category", "attribute", "attribute: color", "attribute: pose"), share
    )
    metrics = dataclasses.replace(result.metrics, hard_negatives=shares)
    table, *_ = table_of(negatives_parts, dataclasses.replace(result, metrics=metrics))
    names = [line[0] for line in table.rows if "text-hard" not in line[0]]
    assert names == ["all", "category", "attribute", "2 with fewer than 20"]
