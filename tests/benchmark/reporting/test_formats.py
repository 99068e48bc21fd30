"""Reports in other formats, the figures of an experiment, and means over domains."""

import csv
import dataclasses
import io
import re
from xml.etree import ElementTree

import pytest
from PIL import Image

import benchmark
from benchmark.reporting import pages
from benchmark.reporting.comparison import group_results
from benchmark.reporting.plots import PALETTE, Series, inline_svg, plots_of
from benchmark.result import QueryRanks, read_results
from fdrd.errors import FdrdError

LABEL = "50 % & CoOp_x"
ROWS = ["zero_shot", benchmark.Run(method="coop", label=LABEL, options={"n_ctx": 2})]
OTHERS = QueryRanks("1 1 2", "1 1 2")


@pytest.fixture(scope="module")
def folder(tiny_dataset, tiny_clip, tmp_path_factory):
    home = tmp_path_factory.mktemp("runs")
    experiment = benchmark.Experiment(
        data="drawn",
        methods=ROWS,
        backbones=["tiny"],
        protocols=[benchmark.Protocols(shots=[1, 4, "all"])],
        train={"steps": 4, "eval_every": 2, "batch_size": 8},
        seeds=2,
        results=str(home),
    )
    found = benchmark.run_experiment(
        experiment, data={"drawn": tiny_dataset}, backbones={"tiny": tiny_clip}
    )
    assert found.failed == {}
    return home


@pytest.fixture(scope="module")
def results(folder):
    return read_results(folder)


def test_csv_has_one_record_per_result(folder, results):
    rows = list(csv.DictReader(io.StringIO(benchmark.report(folder, format="csv"))))
    assert len(rows) == len(results) == 7
    for row, result in zip(rows, results, strict=True):
        assert row["method"] == result.settings.method
        assert float(row["I2T MRR"]) == result.metrics.by_direction["image_to_text"]["MRR"]
        assert row["pairs_seen"] == (str(result.fit.pairs) if result.fit else "")
        assert not result.fit or row["steps"] == str(result.fit.steps)
    frame = benchmark.to_pandas(results)
    assert frame.groupby("method")["R-sum"].count().to_dict() == {"coop": 6, "zero_shot": 1}


def test_latex_escapes_names_and_marks_the_best(folder):
    text = benchmark.report(folder, format="latex")
    assert r"50 \% \& CoOp\_x (shots=4)" in text
    assert r"\textbf{" in text
    main, *others = text.split(r"\begin{table}")[1:]
    head, *lines = [line for line in main.splitlines() if line.endswith(r"\\")]
    assert head.count(r"\multicolumn{4}{c}{") == 2
    assert len({line.replace(r"\&", "").count("&") for line in lines}) == 1
    assert r"$\pm$" in main
    labels = re.findall(r"\\label\{(tab:[a-z0-9-]+)\}", text)
    assert len(labels) == len(set(labels)) == 1 + len(others) == text.count(r"\caption{")
    assert main.index(r"\end{tabular}") < main.index(r"\footnotesize") < main.index(r"\end{table}")
    assert any("Accuracy on hard negatives" in other for other in others)
    assert "MRR against zero\\_shot" in others[0]


def test_the_figures_show_courses_by_step_and_mrr_by_shots(results):
    (comparison,) = group_results(results)
    plots = {plot.name: plot for plot in plots_of(comparison)}
    assert plots["training-mrr-1-shots"].title.endswith("1 training images per category")
    assert plots["training-mrr-all-shots"].title.endswith("all training images")
    course = {each.label: each for each in plots["training-mrr-1-shots"].series}[LABEL]
    fits = [r.fit for r in results if r.settings.method == "coop" and r.settings.shots == 1]
    assert list(course.x) == [0, 2, 4]
    starts = [100 * fit.untrained_mrr for fit in fits]
    ends = [100 * fit.epochs[1].validation_mrr for fit in fits]
    assert course.values[::2] == pytest.approx([sum(starts) / 2, sum(ends) / 2])
    assert course.spread[2] == pytest.approx(abs(ends[0] - ends[1]) / 2**0.5)
    shots = plots["shots"]
    assert (list(shots.x), shots.names) == ([1, 4, 8], {8: "all"})
    by_label = {each.label: each for each in shots.series}
    assert set(by_label) == {"zero_shot", LABEL}
    assert len(set(by_label["zero_shot"].values)) == 1
    assert by_label["zero_shot"].color == 0
    mrr = {row.label: 100 * row.mrr("mean") for row in comparison.rows}
    expected = [mrr[f"{LABEL}{end}"] for end in (" (shots=1)", " (shots=4)", "")]
    assert by_label[LABEL].values == pytest.approx(expected)
    assert len(by_label[LABEL].spread) == 3


def test_figures_are_written_as_vectors_and_pixels(folder, tmp_path, monkeypatch):
    write, drawn = pages.write_plots, {}

    def write_shots(plots, folder):
        drawn.update(plots)
        write({name: plot for name, plot in plots.items() if plot.name == "shots"}, folder)

    monkeypatch.setattr(pages, "write_plots", write_shots)
    benchmark.report(folder, figures=tmp_path)
    assert {"1-training-mrr-4-shots", "1-recall-image_to_text-1-shots", "1-shots"} <= drawn.keys()
    ElementTree.parse(tmp_path / "1-shots.svg")
    assert (tmp_path / "1-shots.pdf").read_bytes().startswith(b"%PDF")
    assert Image.open(tmp_path / "1-shots.png").width > 1000


def test_the_recall_curve_is_the_mean_recall_of_the_seeds(results):
    """Not the recall of mean ranks, which falls with the number of seeds."""
    seeds = [r for r in results if r.settings.method == "coop" and r.settings.shots == 4]
    shown = [
        dataclasses.replace(
            each, ranks={"image_to_text": QueryRanks(*[ranks] * 2), "text_to_image": OTHERS}
        )
        for each, ranks in zip(seeds, ("1 3 1", "2 1 1"), strict=True)
    ]
    plots = {plot.name: plot for plot in plots_of(group_results(shown)[0])}
    (curve,) = plots["recall-image_to_text"].series
    assert curve.values == pytest.approx([100 * 2 / 3, 100 * 5 / 6, 100])
    (bars,) = plots["ranks-image_to_text"].series
    assert bars.values[:3] == pytest.approx([100 * 4 / 6, 100 / 6, 100 / 6])


def test_zero_shot_is_a_horizontal_line_among_the_curves(results):
    """It is known where the features of the frozen backbone are cached, and averaged over seeds."""
    known = []
    for each in results:
        if each.settings.shots == 4:
            zero_shot = 0.2 + 0.1 * each.settings.seed
            fit = dataclasses.replace(each.fit, zero_shot_mrr=zero_shot)
            known.append(dataclasses.replace(each, fit=fit))
    plots = {plot.name: plot for plot in plots_of(group_results(known)[0])}
    line = plots["training-mrr"].series[0]
    assert (line.label, list(line.x)) == ("zero-shot", [0, 4])
    assert line.values == pytest.approx([25.0, 25.0])
    drawn = inline_svg(plots["training-mrr"])
    assert "zero-shot: 25.00 at the end" in drawn
    assert "standard deviation over seeds" in drawn


def test_twelve_methods_differ_in_color_or_dash_and_the_reference_is_gray():
    series = [Series("m", [1.0], place) for place in range(25)]
    assert len({(PALETTE[each.shade], each.dash) for each in series}) == 25
    assert (series[0].shade, series[0].dash) == (0, "-")
    assert len({PALETTE[each.shade] for each in series[:13]}) == 13


def test_a_plot_without_matplotlib_is_one_line(folder, results, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.reporting.plots.find_spec", lambda _name: None)
    with pytest.raises(FdrdError, match=r"pip install 'fdrd\[report\]'"):
        benchmark.report(folder, figures=tmp_path)
    page = benchmark.report(results, format="html")
    assert "plots need matplotlib" in page
    assert "<svg" not in page


def test_models_of_single_domains_get_a_table_of_their_means(results):
    first = results[0]

    def of_domain(name, recall):
        side = first.metrics.by_direction["image_to_text"]
        values = side.values | dict.fromkeys(("R@1", "R@5", "R@10"), recall)
        sides = first.metrics.by_direction | {
            "image_to_text": dataclasses.replace(side, values=values)
        }
        data = dataclasses.replace(first.settings.data, fingerprint=name[0] * 64)
        settings = dataclasses.replace(first.settings, domain=name, data=data)
        metrics = dataclasses.replace(first.metrics, by_direction=sides)
        return dataclasses.replace(first, settings=settings, metrics=metrics)

    page = benchmark.markdown([of_domain("a", 0.25), of_domain("b", 0.75)])
    means = page.partition("## Mean over the domains a, b")[2]
    assert "| 50 | 50 | 50 |" in means
    assert "Mean over the domains" not in benchmark.markdown([of_domain("a", 0.25)])


def test_significance_tests_are_a_table_of_pandas(folder):
    tests = benchmark.compare(folder)
    table = tests.to_pandas()
    assert len(table) == 3 * sum(len(each.others) for each in tests.comparisons)
    assert {"image_to_text", "text_to_image", "mean"} == set(table["direction"])
    first = table.iloc[0]
    assert first["difference"] == pytest.approx(first["mrr"] - first["mrr_against"])
    assert first["verdict"]
