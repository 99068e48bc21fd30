"""Tables and figures of the results page, from rows of its CSV files."""

import results_page


def row(method, shots, mrr, seed=0):
    return {"method": method, "shots": shots, "MRR": str(mrr), "seed": str(seed)}


ROWS = [
    row("zero_shot", "all", 0.1),
    *(row("full", "16", mrr, seed) for seed, mrr in enumerate((0.2, 0.3))),
    *(row("cca", shots, mrr) for shots, mrr in (("2", 0.1), ("16", 0.2), ("all", 0.4))),
]


def test_methods_are_ordered_by_the_most_images_and_gaps_stay():
    lines = results_page.shots_table(ROWS).splitlines()
    assert lines[0] == "| method | 2 | 16 | all |"
    assert lines[2:] == [
        "| cca | 10.0 | 20.0 | 40.0 |",
        "| zero_shot | – | – | 10.0 |",
        "| full | – | 25.0 ±7.1 | – |",
    ]


def test_the_plot_has_bands_and_a_level_for_what_needs_no_images():
    plot = results_page.plot(ROWS, "drawings")
    series = {each.label: each for each in plot.series}
    assert plot.x == [2.0, 16.0, 32.0]
    assert plot.names == {32.0: "all"}
    assert (series["zero_shot"].x, series["zero_shot"].values) == ([2.0, 32.0], [10.0, 10.0])
    assert series["full"].x == [16.0]
    assert [round(each, 1) for each in series["full"].spread] == [7.1]
    assert series["cca"].spread == [0.0, 0.0, 0.0]


def test_a_difference_that_is_not_shown_has_a_mark():
    shared = {"difference": "-0.0100", "low": "-0.0300", "high": "0.0010", "base": "dcar_plus"}
    rows = [
        {"method": "cca", "shots": "all", "verdict": "worse", **shared},
        {"method": "cca", "shots": "4", "verdict": "no difference shown", **shared},
        {"method": "full", "shots": "8", "verdict": "worse", **shared, "base": "whole"},
    ]
    lines = results_page.differences_table(rows, "dcar_plus").splitlines()
    assert lines[0] == "| method | 4 | all |"
    assert lines[2] == "| cca | -1.0 (-3.0 to +0.1) = | -1.0 (-3.0 to +0.1) |"


def test_figures_show_the_methods_of_the_page(tmp_path):
    results_page.draw(tmp_path)
    for name in results_page.FIGURES:
        assert ">dcar_plus</text>" in (tmp_path / f"results_{name}.svg").read_text()
        assert f"images/results_{name}.svg" in results_page.PAGE.read_text()
