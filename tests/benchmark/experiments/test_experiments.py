"""Experiments: what a file expands to, what is wrong with one, and that cells run once."""

import os
import signal
import time

import pytest

import benchmark
from benchmark.experiments.plan import Experiment, read_experiment
from benchmark.experiments.state import states
from benchmark.reporting.comparison import group_results
from benchmark.result import read_results
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
    zero_shot = [cell for cell in cells if cell.row.method == "zero_shot"]
    coop = [cell for cell in cells if cell.row.method == "coop"]
    assert [(c.protocol.split, c.protocol.shots, c.seed) for c in coop] == [
        *(("validation", None, 0), ("test", None, 0)),  # one training, side by side
        *(("validation", None, 7), ("test", None, 7), ("test", 1, 0), ("test", 1, 7)),
    ]
    assert {c.seed for c in zero_shot if c.protocol.shots is None} == {0}
    assert coop[0].row.train == {"epochs": 1, "batch_size": 8}
    assert len({cell.name for cell in cells}) == len(cells)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('data = "drawn"', "data = ", "line 2"),
        ("seeds =", "seedz =", "unknown key `seedz`; it may have data, methods, backbones"),
        ('split = ["validation', 'split = ["dev', r"protocols\[0\]\.split"),
        ("shots = 1", "shot = 1", r"protocols\[1\]: unknown key `shot`; it may have split, shots"),
        ("n_ctx = 2", "n_ctxt = 2", r"methods\[1\]: .*did you mean 'n_ctx'"),
        ("n_ctx = 2", 'n_ctx = "two"', r"methods\[1\]: coop: n_ctx=two: not an int"),
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
            benchmark.MethodRow(method="maple", options={"depth": 9}),
            "zero_shot",
        ],
    )
    found = benchmark.run_experiment(
        plan, data={"drawn": tiny_dataset}, backbones={"tiny": tiny_clip}
    )
    assert [r.settings.method for r in found.results] == ["zero_shot"]
    assert "the tower has 3 layers" in str(*found.failed.values())


def test_a_dry_run_lists_what_is_finished(experiment, tiny_dataset, tiny_clip):
    plan = read_experiment(experiment)
    assert {state for _, state in states(plan)} == {"to do"}
    only = experiment.read_text().replace("seeds = [0, 7]", "seeds = 1")
    experiment.write_text(only)
    given = {"data": {"drawn": tiny_dataset}, "backbones": {"tiny": tiny_clip}}
    benchmark.run_experiment(experiment, **given)
    found = {(c.row.method, c.seed, c.protocol): state for c, state in states(plan)}
    assert all(
        state == ("to do" if (method, seed) == ("coop", 7) else "finished")
        for (method, seed, _), state in found.items()
    )


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
