"""Reports in other formats, the figures of an experiment, and means over domains."""

import csv
import dataclasses
import io
from xml.etree import ElementTree

import pytest

import benchmark
from benchmark.reporting.comparison import group_results
from benchmark.reporting.result_plots import plots_of
from benchmark.result import read_results

ROWS = [
    "zero_shot",
    benchmark.MethodRow(method="coop", label="50 % & CoOp_x", options={"n_ctx": 2}),
]


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
        assert float(row["image_to_text_mrr"]) == result.metrics.image_to_text.strict.mrr
        assert row["steps"] == (
            str(result.fit.steps) if result.fit and result.settings.train else row["steps"]
        )
    frame = benchmark.to_pandas(results)
    assert frame.groupby("method")["rsum"].count().to_dict() == {"coop": 6, "zero_shot": 1}


def test_latex_escapes_names_and_marks_the_best(folder):
    text = benchmark.report(folder, format="latex")
    assert r"50 \% \& CoOp\_x (shots=4)" in text
    assert r"\textbf{" in text
    (table,) = text.split(r"\begin{tabular}")[1:]
    lines = [line for line in table.splitlines() if line.endswith(r"\\")]
    assert {line.replace(r"\&", "").count("&") for line in lines} == {10}


def test_the_figures_show_courses_by_step_and_mrr_by_shots(folder, results, tmp_path):
    (comparison,) = group_results(results)
    plots = {plot.name: plot for plot in plots_of(comparison)}
    courses = {each.label: each for each in plots["training-mrr"].series}
    course = courses["50 % & CoOp_x (shots=1)"]
    fits = [r.fit for r in results if r.settings.method == "coop" and r.settings.shots == 1]
    assert list(course.x) == [0, 2, 4]
    assert course.values[0] == pytest.approx(sum(fit.untrained_mrr for fit in fits) / 2)
    assert course.values[2] == pytest.approx(sum(fit.epochs[1].validation_mrr for fit in fits) / 2)
    shots = plots["shots"]
    assert (list(shots.x), shots.names) == ([1, 4, 8], {8: "all"})
    by_label = {each.label: each for each in shots.series}
    assert set(by_label) == {"zero_shot", "50 % & CoOp_x"}
    assert len(set(by_label["zero_shot"].values)) == 1
    mrr = {row.label: row.mrr("mean") for row in comparison.rows}
    assert by_label["50 % & CoOp_x"].values == [
        mrr["50 % & CoOp_x (shots=1)"], mrr["50 % & CoOp_x (shots=4)"], mrr["50 % & CoOp_x"]
    ]  # fmt: skip
    benchmark.report(folder, figures=tmp_path)
    written = {path.name for path in tmp_path.glob("*.svg")}
    assert {"1-training-mrr.svg", "1-shots.svg"} <= written
    ElementTree.parse(tmp_path / "1-shots.svg")


def test_models_of_single_domains_get_a_table_of_their_means(results):
    first = results[0]

    def of_domain(name, recall):
        strict = dataclasses.replace(
            first.metrics.image_to_text.strict,
            recall=dict.fromkeys(("R@1", "R@5", "R@10"), recall),
        )
        side = dataclasses.replace(first.metrics.image_to_text, strict=strict)
        data = dataclasses.replace(first.settings.data, fingerprint=name[0] * 64)
        settings = dataclasses.replace(first.settings, domain=name, data=data)
        metrics = dataclasses.replace(first.metrics, image_to_text=side)
        return dataclasses.replace(first, settings=settings, metrics=metrics)

    page = benchmark.markdown([of_domain("a", 0.25), of_domain("b", 0.75)])
    means = page.partition("## Mean over the domains a, b")[2]
    assert "| 50.00 | 50.00 | 50.00 |" in means
    assert "Mean over the domains" not in benchmark.markdown([of_domain("a", 0.25)])


def test_notebooks_show_results_tests_and_outcomes(folder, results):
    shown = [results[0], benchmark.compare(folder), benchmark.ExperimentOutcome(results)]
    for each in shown:
        root = ElementTree.fromstring(f"<div>{each._repr_html_()}</div>")
        assert root.findall(".//td")
    assert "50 % &amp; CoOp_x" in shown[2]._repr_html_()
