"""`fdrd demo` on a small plan, and the fairness of its real plan."""

import json

from typer.testing import CliRunner

import fdrd.commands  # registers the commands
import fdrd.commands.demo_plan
from benchmark.experiments.plan import Experiment
from benchmark.runner.description import Run
from benchmark.training.loop import steps_per_epoch
from dcar.method import ADAPTER_BATCH
from fdrd.commands import app
from fdrd.commands.demo_plan import PLAN, DemoPlan
from fdrd.field_guide import FLAWS, splits

SMALL = DemoPlan(
    categories=4,
    pairs=96,
    methods=[
        "zero_shot",
        Run(method="dcar", label="dcar", options={"n_ctx": 2, "depth": 1, "adapter_epochs": 2}),
    ],
    train={"epochs": 1, "batch_size": 16},
)


def test_the_demo_prints_a_table_a_report_and_next_commands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fdrd.commands.demo_plan, "PLAN", SMALL)
    first = CliRunner().invoke(app, ["demo", "my demo"])
    assert first.exit_code == 0, first.output
    home = tmp_path / "my demo"
    results = [json.loads(path.read_text()) for path in (home / "runs").glob("*.json")]
    assert {each["settings"]["method"] for each in results} == {"zero_shot", "dcar"}
    assert {each["settings"]["split"] for each in results} == {"test"}
    settings = next(r["settings"] for r in results if r["settings"]["method"] == "dcar")
    assert (settings["train"]["epochs"], settings["options"]["depth"]) == (1, 1)
    manifest = json.loads((home / "data" / "fdrd" / "manifest.json").read_text())
    assert manifest["backbone"] == "embedded"

    table, _, after = first.stdout.partition("Build: ")
    assert {"zero_shot", "dcar", "ceiling"} <= set(table.split())  # options stand in the report
    assert after.startswith("106 read = 86 kept + 20 rejected")
    assert [line.split("#")[0].strip() for line in after.splitlines()[2:6]] == [
        "fdrd view 'my demo/data/fdrd' --source 'my demo/raw' --results 'my demo/runs' --review demo",
        "fdrd compare 'my demo/runs'",
        "python -m webbrowser 'my demo/report.html'",
        "Next: fdrd build your/images",
    ]
    page = (home / "report.html").read_text()
    assert page.count("<img") >= 2

    written = {path: path.stat().st_mtime_ns for path in (home / "runs").iterdir()}
    again = CliRunner().invoke(app, ["demo", "-o", "my demo"])
    assert again.stdout == first.stdout
    assert {path: path.stat().st_mtime_ns for path in (home / "runs").iterdir()} == written


def test_all_trained_methods_of_the_demo_take_equally_many_steps():
    rows = {
        row.label: row for row in Experiment(data="", methods=PLAN.methods, train=PLAN.train).rows()
    }
    assert list(rows) == ["zero_shot", "coop", "maple", "clip_adapter", "dcar", "dcar_plus"]
    assert not rows.pop("zero_shot").train
    steps = {label: row.train["steps"] for label, row in rows.items()}
    size, more = divmod(PLAN.pairs, PLAN.categories)
    drawn = sum(splits(size + (at < more)).count("train") for at in range(PLAN.categories))
    for rows_left in (drawn, drawn - len(FLAWS)):  # the build rejects some of the planted ones
        alone = rows["dcar"].options["adapter_epochs"] * steps_per_epoch(rows_left, ADAPTER_BATCH)
        assert steps["dcar"] + alone == steps["coop"]
    assert steps["coop"] == steps["maple"] == steps["clip_adapter"] == steps["dcar_plus"]
    assert all(row.train["optimizer"] == "adamw" for row in rows.values())
