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
        (
            "label =",
            "shots = 1, label =",
            r"methods\[1\]: unknown key `shots`; allowed: method, label",
        ),
        ("label =", "seed = 0, label =", r"methods\[1\]: unknown key `seed`; allowed: method"),
        (
            "label =",
            "lable =",
            r"methods\[1\]: unknown key `lable`; allowed: method, label, options",
        ),
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


def test_an_empty_list_is_an_error_not_an_empty_result():
    plan = Experiment(data="drawn", methods=["zero_shot"], seeds=[])
    with pytest.raises(FdrdError, match="nothing to run: a list of data, seeds or protocols"):
        plan.cells()


def test_a_row_replaces_shared_training_options_by_any_name():
    plan = Experiment(
        data="drawn",
        train={"lr": 0.5, "scale": 8},
        methods=[benchmark.Run(method="coop", train={"learning_rate": 0.1})],
    )
    assert plan.rows()[0].train == {"learning_rate": 0.1, "scale": "8"}


def test_cells_run_once_and_keep_their_labels(experiment, tiny_dataset, tiny_clip, tmp_path):
    given = {"data": {"drawn": tiny_dataset}, "backbones": {"tiny": tiny_clip}}
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
    renamed = experiment.read_text().replace("CoOp, 2 words", "CoOp")
    experiment.write_text(renamed)
    again = benchmark.run_experiment(experiment, **given)
    assert {r.settings.label for r in again.results} == {"zero_shot", "CoOp"}
    assert len(list(folder.glob("*.json"))) == len(written)


def test_a_cell_that_fails_does_not_stop_the_others(tiny_dataset, tiny_clip, tmp_path):
    plan = Experiment(
        data="drawn",
        backbones=["tiny"],
        results=str(tmp_path),
        methods=[
            benchmark.Run(method="maple", options={"depth": 9}),
            "zero_shot",
        ],
    )
    found = benchmark.run_experiment(
        plan, data={"drawn": tiny_dataset}, backbones={"tiny": tiny_clip}
    )
    assert [r.settings.method for r in found.results] == ["zero_shot"]
    assert "the tower has 3 layers" in str(*found.failed.values())


def test_a_backbone_that_is_a_function_is_refused_before_any_cell(tiny_dataset, tmp_path):
    plan = Experiment(
        data="drawn",
        backbones=["load.py:clip"],
        results=str(tmp_path),
        methods=["zero_shot", "coop"],
    )
    with pytest.raises(FdrdError, match=r"is a function.*give `backbone` load\.py:clip"):
        benchmark.run_experiment(plan, data={"drawn": tiny_dataset})


def test_hard_negatives_are_not_measured_if_a_protocol_says_so(tiny_dataset, tiny_clip, tmp_path):
    def plan(**protocol):
        return benchmark.to_experiment(
            {
                "data": "drawn",
                "backbones": ["tiny"],
                "methods": ["zero_shot"],
                "results": str(tmp_path),
                "protocols": [protocol],
            }
        )

    given = {"data": {"drawn": tiny_dataset}, "backbones": {"tiny": tiny_clip}}
    without, with_them = (
        benchmark.run_experiment(plan(**protocol), **given).results[0]
        for protocol in ({"hard_negatives": False}, {})
    )
    assert without.metrics.hard_negatives == {}
    assert with_them.metrics.hard_negatives["all"].rows > 0
    assert without.ranks == with_them.ranks
    for protocol in ({"hard_negatives": False}, {}):
        assert [state for _, state in states(plan(**protocol))] == ["finished"]
    assert plan(hard_negatives=False).cells()[0].training() == plan().cells()[0].training()


def test_each_failed_cell_is_on_a_line_of_its_own():
    failed = {"coop, seed 0": FdrdError("no rows"), "coop, seed 1": FdrdError("no images")}
    with pytest.raises(FdrdError) as raised:
        raise_failed(benchmark.Results(failed=failed))
    assert str(raised.value).splitlines() == [
        "coop, seed 0 failed: no rows",
        "coop, seed 1 failed: no images",
    ]


def test_a_dry_run_lists_what_is_finished(experiment, tiny_dataset, tiny_clip):
    plan = read_experiment(experiment)
    assert {state for _, state in states(plan)} == {"to do"}
    only = experiment.read_text().replace("seeds = [0, 7]", "seeds = 1")
    experiment.write_text(only)
    given = {"data": {"drawn": tiny_dataset}, "backbones": {"tiny": tiny_clip}}
    benchmark.run_experiment(experiment, **given)
    found = {(c.method, c.seed, c.measurement): state for c, state in states(plan)}
    assert all(
        state == ("to do" if (method, seed) == ("coop", 7) else "finished")
        for (method, seed, _), state in found.items()
    )


def test_a_dry_run_tells_apart_where_a_method_trained(tiny_dataset, tiny_clip, tmp_path):
    def plan(**protocol):
        return benchmark.to_experiment(
            {
                "data": "drawn",
                "backbones": ["tiny"],
                "methods": ["nnn", "clip_adapter"],
                "train": {"epochs": 1, "batch_size": 8},
                "results": str(tmp_path),
                "protocols": [protocol],
            }
        )

    domain = tiny_dataset["test"].domains[0]
    given = {"data": {"drawn": tiny_dataset}, "backbones": {"tiny": tiny_clip}}
    benchmark.run_experiment(plan(domain=domain, shots=2), **given)

    def state(**protocol):
        return [found for _, found in states(plan(domain=domain, shots=2, **protocol))]

    assert state() == ["finished", "finished"]
    assert state(train_domain=domain) == ["finished", "finished"]
    assert state(train_domain="all") == ["to do", "to do"]
    assert state(preset="paper")[1] == "to do"


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
