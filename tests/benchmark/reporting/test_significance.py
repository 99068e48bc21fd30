"""Significance tests from result files: which methods are compared, and the verdicts."""

import dataclasses

import numpy as np
import pytest

from benchmark.rank_metrics import DIRECTIONS, MetricValues, by_part
from benchmark.reporting.comparison import all_intervals, differences, group_results
from benchmark.reporting.pages import markdown
from benchmark.reporting.tables import main_table
from benchmark.result import read_results, write_result
from benchmark.results import compare, significance_table
from benchmark.settings import Named
from fdrd.errors import FdrdError
from tests.ranked import with_ranks
from tests.running import printed


@pytest.fixture
def measured(zero_shot):
    """24 images with a caption each."""
    return zero_shot


def made(like, method, ranks, **said):
    """A result of a method with these ranks, in both directions."""
    settings = dataclasses.replace(like.settings, method=method, **said)
    strict = {way: {"strict": np.array(ranks)} for way in DIRECTIONS}
    names = list(like.metrics.by_category)
    parts = [[np.arange(24) // 2 % 3 == number] * 2 for number in range(len(names))]
    by_category = dict(zip(names, by_part(strict, parts), strict=True))
    metrics = dataclasses.replace(like.metrics, by_category=by_category, hard_negatives={})
    bare = dataclasses.replace(like, settings=settings, metrics=metrics, negative_wins="")
    return with_ranks(bare, ranks, ranks)


def written(folder, *results):
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{len(list(folder.iterdir())) + n}.json" for n in range(len(results))]
    for path, result in zip(paths, results, strict=True):
        write_result(result, path)
    return paths


def test_a_clear_winner_a_clear_loser_and_no_difference(measured, tmp_path):
    ranks = {
        "zero_shot": [2] * 24,
        "coop": [1] * 24,
        "maple": [4] * 24,
        "vpt": [1, *[2] * 22, 3],  # one query gained, one lost
    }
    paths = written(tmp_path, *(made(measured, *each) for each in ranks.items()))
    tests = compare(paths, "zero_shot")
    assert (tests.comparisons[0].against.label, tests.left_out) == ("zero_shot", [])
    assert {
        row["method"]: (row["mean"]["verdict"], round(row["mean"]["difference"], 4))
        for row in tests.to_json()["comparisons"][0]["methods"]
    } == {
        "coop": ("better", 0.5),
        "maple": ("worse", -0.25),
        "vpt": ("no difference shown", 0.0139),
    }
    text = printed(significance_table(compare(paths[::3])))
    assert text.count("no difference shown") == 3
    assert "1.0000" in text


def test_every_method_that_does_not_differ_from_the_best_is_marked(measured):
    """One query apart is no difference; all queries apart is one."""
    ranks = {"zero_shot": [2] * 24, "vpt": [1] * 23 + [2], "coop": [1] * 24}
    (comparison,) = group_results([made(measured, *each) for each in ranks.items()])
    assert comparison.top == {"coop", "vpt"}
    table = main_table(comparison)
    assert [row[0] for row in table.rows] == ["coop", "vpt", "zero_shot"]  # by MRR
    assert [row[1] for row in table.rows] == ["100*", "98*", "50"]
    assert table.best == {(row, column) for row in (0, 1) for column in (0, 1)}
    page = markdown([made(measured, *each) for each in ranks.items()])
    assert "\\* the best MRR, and every MRR that does not differ" in page
    assert "MRR against zero" in page  # the tests themselves


@pytest.mark.parametrize(
    ("methods", "against", "reference"),
    [
        (["maple", "coop", "zero_shot", "vpt"], None, "zero_shot"),
        (["maple", "zero_shot"], None, "zero_shot"),
        (["maple", "coop", "vpt"], None, "coop"),
        (["maple", "coop", "zero_shot", "vpt"], "maple", "maple"),
    ],
)
def test_the_reference_does_not_depend_on_the_results(
    measured, tmp_path, methods, against, reference
):
    """It is zero-shot, which has the role, otherwise the first by name."""
    ranks = {"maple": [1, 2] * 12, "coop": [2] * 24, "zero_shot": [3] * 24, "vpt": [1, 2] * 12}
    paths = written(tmp_path, *(made(measured, each, ranks[each]) for each in methods))
    assert compare(paths, against).comparisons[0].against.label == reference
    with pytest.raises(FdrdError, match=r"`against` mapel: .*choose from '") as refused:
        compare(paths, "mapel")
    assert all(repr(each) in str(refused.value) for each in methods)


def test_two_sets_of_options_need_a_full_label(measured, tmp_path):
    shallow, deep = (
        made(measured, "vpt", [1] * 24, options={"depth": n}, options_given={"depth": n})
        for n in (1, 9)
    )
    paths = written(tmp_path, shallow, deep, made(measured, "zero_shot", [3] * 24))
    with pytest.raises(FdrdError, match=r"2 rows are of vpt; .* one of 'vpt \(depth=1\)'"):
        compare(paths, "vpt")
    assert compare(paths, "vpt (depth=9)").comparisons[0].against.label == "vpt (depth=9)"


def test_seeds_are_averaged_query_by_query(measured, tmp_path):
    """Each seed is right where the other is wrong, so their mean equals the reference."""
    mean = made(measured, "zero_shot", [2] * 24)
    seeds = [
        made(measured, "coop", ranks, seed=seed)
        for seed, ranks in enumerate(([1, 4] * 12, [4, 1] * 12))
    ]
    tests = compare(written(tmp_path, mean, *seeds), "zero_shot")
    (found,) = tests.comparisons[0].differences
    assert found["mean"].value == pytest.approx((1 + 0.25) / 2 - 0.5)
    assert found["mean"].interval == pytest.approx((0.125, 0.125))  # every query gains the same
    assert "62.5 " in printed(significance_table(tests))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"split": "validation"}, r"different split \(test, validation\)"),
        ({"gallery": 12}, r"different gallery \(domain, 12\)"),
        ({"data": Named("mine", "a" * 64)}, r"different data \(drawn \w{8}, mine aaaaaaaa\)"),
        ({"backbone": Named("big", "b" * 64)}, r"different backbone \(tiny \w{8}, big bbbbbbbb\)"),
        ({"categories": Named("c.txt", "c" * 64), "half": "new"}, r"different half \(both, new\)"),
    ],
)
def test_incomparable_runs_are_an_error_with_the_reason(measured, tmp_path, said, reason):
    results = [made(measured, "zero_shot", [1] * 24), made(measured, "coop", [2] * 24, **said)]
    paths = written(tmp_path / "runs", *results)
    with pytest.raises(FdrdError, match=reason) as refused:
        compare(paths)
    assert "zero_shot and coop have" in str(refused.value)
    with pytest.raises(FdrdError, match=f"nothing to compare: .*{reason}"):
        compare([tmp_path / "runs"])
    # A folder that holds what can be compared, too, is no mistake; a file that cannot be is one.
    paths += written(tmp_path / "runs", made(measured, "maple", [3] * 24))
    with pytest.raises(FdrdError, match=f"these runs cannot be compared: .*{reason}"):
        compare(paths)
    tests = compare(tmp_path / "runs")
    assert [row.label for row in tests.comparisons[0].others] == ["maple"]
    assert "Left out: coop, the only method measured on" in printed(significance_table(tests))
    assert len(tests.to_json()["left_out"]) == 1


def test_halves_of_different_lists_are_different_things(measured):
    """The same rows may be left, but other categories were learned from."""
    results = [
        made(measured, method, [1] * 24, categories=Named("c.txt", digit * 64), half="new")
        for method, digit in (("zero_shot", "a"), ("coop", "b"))
    ]
    assert len(group_results(results)) == 2


def test_a_single_method_has_nothing_to_compare(measured, tmp_path):
    (path,) = written(tmp_path, made(measured, "coop", [1] * 24))
    with pytest.raises(FdrdError, match="nothing to compare: all are seeds of one method"):
        compare([path, path, tmp_path])
    with pytest.raises(FdrdError, match=r"gone\.json: no such file"):
        compare([path, tmp_path / "gone.json"])


def test_an_edited_method_is_another_row_not_another_seed(measured):
    before = made(measured, "coop", [1] * 24, seed=0)
    after = made(measured, "coop", [2] * 24, seed=0, code="e" * 64)
    (comparison,) = group_results([before, after])
    assert len(comparison.rows) == 2
    assert all(row.label.startswith("coop #") for row in comparison.rows)


def test_a_label_of_an_experiment_is_a_name_without_what_tables_add(measured, tmp_path):
    rows = [
        made(measured, "coop", [1] * 24, label=label, shots=2)
        for label in ("CoOp, 4 words", "CoOp, 16 words")
    ]
    chosen = compare(written(tmp_path, *rows), "CoOp, 4 words").comparisons[0].against
    assert chosen.label == "CoOp, 4 words (shots=2)"


@pytest.mark.parametrize("gallery", ["domain", "joint", 4])
def test_what_was_written_is_read_and_differences_are_those_of_the_mrr(
    run_tiny, uneven_domains, gallery, tmp_path
):
    """Two domains, images with several captions, captions of several images."""
    asked = {"gallery": gallery, "results": tmp_path}
    results = [run_tiny(name, uneven_domains, **asked) for name in ("zero_shot", "random")]
    assert sorted(map(repr, read_results(tmp_path))) == sorted(map(repr, results))
    (comparison,) = group_results(results)
    (found,) = differences(comparison.rows[0], comparison.rows[1:])
    for each in DIRECTIONS:
        one, other = (result.metrics.by_direction[each]["MRR"] for result in results)
        assert found[each].value == pytest.approx(other - one)


def test_intervals_over_seeds_and_categories_stand_beside_those_over_images(measured, tmp_path):
    seeds = [made(measured, "coop", [rank] * 24, seed=n) for n, rank in enumerate([1, 4])]
    shifted = {
        name: {
            way: MetricValues(side.queries, {"MRR": 0.01 * number}) for way, side in sides.items()
        }
        for number, (name, sides) in enumerate(measured.metrics.by_category.items())
    }
    reference = made(measured, "zero_shot", [2] * 24)
    tests = compare(written(tmp_path, reference, *seeds), "zero_shot")
    seeds[0] = dataclasses.replace(
        seeds[0], metrics=dataclasses.replace(seeds[0].metrics, by_category=shifted)
    )
    first, other = group_results([reference, *seeds])[0].rows
    found = all_intervals(first, [other])[0]["mean"]
    assert found.interval == pytest.approx((0.125, 0.125))
    assert found.over_seeds == pytest.approx((-0.25, 0.5))
    assert found.over_categories[0] < found.over_categories[1] < 0
    shown = printed(significance_table(tests))
    assert "[-25.0, +50.0]" in shown
    assert "seeds" in shown.partition("95 % intervals of the mean difference")[2]
