"""Experiments: what a file expands to, what is wrong with one, and that cells run once."""

import os
import signal
import time

import msgspec
import pytest

import benchmark
from benchmark.experiments import execution
from benchmark.experiments.execution import Job, states
from benchmark.experiments.plan import Experiment, read_experiment
from benchmark.reporting.comparison import group_results
from benchmark.result import read_results
from fdrd.commands.bench import raise_failed
from fdrd.errors import FdrdError
from tests.command import start_fdrd

FILE = """
data = "drawn"
backbones = ["tiny"]
seeds = [0, 7]
results = "{results}"
train = {{ epochs = 1, batch_size = 8 }}
methods = [
  "zero_shot",
  {{ method = "coop", label = "CoOp, 2 words", options = {{ n_ctx = 2 }} }},
]

[[protocols]]
split = ["validation", "test"]

[[protocols]]
shots = 1
"""


@pytest.fixture
def experiment(tmp_path):
    (tmp_path / "experiment.toml").write_text(FILE.format(results=tmp_path / "runs"))
    return tmp_path / "experiment.toml"


def test_a_file_expands_to_the_product_without_seeds_that_change_nothing(experiment):
    cells = read_experiment(experiment).cells()
    zero_shot = [cell for cell in cells if cell.method == "zero_shot"]
    coop = [cell for cell in cells if cell.method == "coop"]
    assert [(c.split, c.shots, c.seed) for c in coop] == [
        *(("validation", None, 0), ("test", None, 0)),  # one training, side by side
        *(("validation", None, 7), ("test", None, 7), ("test", 1, 0), ("test", 1, 7)),
    ]
    assert {c.seed for c in zero_shot if c.shots is None} == {0}
    assert coop[0].train == {"epochs": 1, "batch_size": 8}
    assert len({cell.name for cell in cells}) == len(cells)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('data = "drawn"', "data = ", "line 2"),
        ("seeds =", "seedz =", "unknown key `seedz`; allowed: data, methods, backbones"),
        ('split = ["validation', 'split = ["dev', r"protocols\[0\]\.split"),
        ("shots = 1", "shot = 1", r"protocols\[1\]: unknown key `shot`; allowed: split, shots"),
        ("label =", "shots = 1, label =", r"methods\[1\]: unknown key `shots`; allowed: method"),
        ("label =", "seed = 0, label =", r"methods\[1\]: unknown key `seed`; allowed: method"),
        ("label =", "lable =", r"methods\[1\]: unknown key `lable`; .* method, label, options"),
        ("n_ctx = 2", "n_ctxt = 2", r"methods\[1\]: .*did you mean 'n_ctx'"),
        ("n_ctx = 2", 'n_ctx = "two"', r"methods\[1\]: coop: n_ctx=two: not an int"),
        ("n_ctx = 2", "n_ctx = inf", r"methods\[1\]: coop: n_ctx=inf: not an int"),
        ("seeds = [0, 7]", "seeds = " + "[" * 5000, "recursion"),
        ("epochs = 1", "epoch = 1", r"methods\[1\]: training has no option 'epoch'"),
        ('"zero_shot"', '"zero_shoot"', r"methods\[0\]: .*did you mean 'zero_shot'"),
        ('"zero_shot"', '"zero_shot", "zero_shot"', r"methods\[1\]: 'zero_shot' appears twice"),
    ],
)
def test_a_wrong_file_is_an_error_that_names_file_and_key(experiment, old, new, message):
    text = experiment.read_text()
    assert old in text
    experiment.write_text(text.replace(old, new))
    with pytest.raises(FdrdError, match=rf"experiment\.toml: .*{message}"):
        read_experiment(experiment)


def test_an_empty_list_is_an_error_not_an_empty_result(tmp_path):
    with pytest.raises(FdrdError, match="nothing to run: a list of data, seeds or protocols"):
        plan(tmp_path, seeds=[]).cells()


def test_a_row_replaces_shared_training_options_by_any_name(tmp_path):
    row = {"method": "coop", "train": {"learning_rate": 0.1}}
    (found,) = plan(tmp_path, row, train={"lr": 0.5, "scale": 8}).rows()
    assert found.train == {"learning_rate": 0.1, "scale": "8"}


@pytest.fixture
def given(quick_dataset, tiny_clip):
    return {"data": {"drawn": quick_dataset}, "backbones": {"tiny": tiny_clip}}


def plan(folder, *methods, **content):
    methods = list(methods) or ["zero_shot"]
    content = {"data": "drawn", "backbones": ["tiny"], "methods": methods, **content}
    return benchmark.to_experiment({"results": str(folder), **content})


def test_cells_run_once_and_keep_their_labels(experiment, given, tmp_path):
    first = benchmark.run_experiment(experiment, **given)
    assert first.failed == {}
    assert len(first.results) == 8  # zero-shot trains nothing, so shots make no difference
    folder = tmp_path / "runs"
    written = {path: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    assert benchmark.run_experiment(experiment, **given).results == first.results
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*.json")} == written
    tests = [each for each in group_results(read_results(folder)) if each.settings.split == "test"]
    assert [[row.label for row in each.rows] for each in tests] == [
        ["zero_shot", "CoOp, 2 words", "CoOp, 2 words (shots=1)"]
    ]
    experiment.write_text(experiment.read_text().replace("CoOp, 2 words", "CoOp"))
    again = benchmark.run_experiment(experiment, **given)
    assert {r.settings.label for r in again.results} == {"zero_shot", "CoOp"}
    assert len(list(folder.glob("*.json"))) == len(written)


def test_a_cell_that_fails_does_not_stop_the_others(given, tmp_path):
    deep = {"method": "maple", "options": {"depth": 9}}
    found = benchmark.run_experiment(plan(tmp_path, deep, "zero_shot"), **given)
    assert [r.settings.method for r in found.results] == ["zero_shot"]
    assert "the tower has 3 layers" in str(*found.failed.values())


def test_a_backbone_that_is_a_function_is_refused_before_any_cell(given, tmp_path):
    experiment = plan(tmp_path, "zero_shot", "coop", backbones=["load.py:clip"])
    with pytest.raises(FdrdError, match=r"is a function.*give `backbone` load\.py:clip"):
        benchmark.run_experiment(experiment, data=given["data"])


def test_hard_negatives_are_not_measured_if_a_protocol_says_so(given, tmp_path):
    plans = [plan(tmp_path, protocols=[each]) for each in ({"hard_negatives": False}, {})]
    short, full = (benchmark.run_experiment(each, **given).results[0] for each in plans)
    assert short.metrics.hard_negatives == {}
    assert full.metrics.hard_negatives["all"].rows > 0
    for each in plans:
        assert [state for _, state in states(each)] == ["finished"]
    one, other = (each.cells()[0].training() for each in plans)
    assert one == other


def test_each_failed_cell_is_on_a_line_of_its_own():
    failed = {"coop, seed 0": FdrdError("no rows"), "coop, seed 1": FdrdError("no images")}
    with pytest.raises(FdrdError) as raised:
        raise_failed(benchmark.Results(failed=failed))
    assert str(raised.value).splitlines() == [
        "coop, seed 0 failed: no rows",
        "coop, seed 1 failed: no images",
    ]


def test_a_dry_run_lists_what_is_finished(experiment, given):
    whole = read_experiment(experiment)
    assert {state for _, state in states(whole)} == {"to do"}
    experiment.write_text(experiment.read_text().replace("seeds = [0, 7]", "seeds = 1"))
    benchmark.run_experiment(experiment, **given)
    for cell, state in states(whole):
        assert state == ("to do" if (cell.method, cell.seed) == ("coop", 7) else "finished")


def test_a_dry_run_tells_apart_where_a_method_trained(given, tmp_path):
    domain = {"domain": given["data"]["drawn"]["test"].domains[0], "shots": 2}
    train = {"epochs": 1, "batch_size": 8}

    def planned(**protocol):
        protocols = [{**domain, **protocol}]
        return plan(tmp_path, "nnn", "clip_adapter", train=train, protocols=protocols)

    benchmark.run_experiment(planned(), **given)
    for protocol, expected in (
        ({}, ["finished", "finished"]),
        ({"train_domain": domain["domain"]}, ["finished", "finished"]),
        ({"train_domain": "all"}, ["to do", "to do"]),
        ({"preset": "paper"}, ["to do", "to do"]),
    ):
        assert [state for _, state in states(planned(**protocol))][-2:] == expected, protocol


def test_a_worker_stops_with_its_input_even_if_a_shell_had_it_ignore_interrupts(monkeypatch):
    read, write = os.pipe()
    job = Job(Experiment(data="drawn", methods=["zero_shot"]), [], None, None, False)
    os.write(write, msgspec.json.encode(job) + b"\n")

    def train(*_, **__):
        os.close(write)
        for _ in range(200):
            time.sleep(0.05)
        pytest.fail("it went on")

    monkeypatch.setattr("sys.stdin", os.fdopen(read))
    monkeypatch.setattr(execution, "run_experiment", train)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        execution.work()
    finally:
        signal.signal(signal.SIGINT, before)


COMMAND = """
data = "data/fdrd"
train = { epochs = 2, batch_size = 16 }
methods = ["zero_shot", { method = "coop", options = { n_ctx = 2 } }, "clip_adapter"]
seeds = 2
"""


@pytest.mark.slow
def test_several_jobs_end_with_the_numbers_of_one_and_survive_an_interrupt(tmp_path):
    def fdrd(*arguments):
        process = start_fdrd(tmp_path, *arguments)
        said, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        return said

    fdrd("sample", "raw", "--categories", 6, "--pairs", 120, "--size", 48)
    fdrd("build", "--source", "raw", "--backbone", "embedded")
    (tmp_path / "one.toml").write_text(COMMAND + 'results = "one"\n')
    (tmp_path / "two.toml").write_text(COMMAND + 'results = "two"\n')
    fdrd("run", "one.toml")
    process = start_fdrd(tmp_path, "run", "two.toml", "--jobs", 2)
    while not list((tmp_path / "two").glob("*.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert "finished" in fdrd("run", "two.toml", "--dry-run")
    fdrd("run", "two.toml", "--jobs", 2)
    one, two = (
        {(r.settings.file_name(), r.ranks["image_to_text"].strict) for r in read_results(folder)}
        for folder in (tmp_path / "one", tmp_path / "two")
    )
    assert one == two
    assert "to do" not in fdrd("run", "two.toml", "--dry-run")
