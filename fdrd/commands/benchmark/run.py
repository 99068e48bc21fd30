"""`fdrd run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fdrd.commands.benchmark.outcome import print_results, raise_failed, show_runs
from fdrd.commands.console import print_json, print_table, quiet_transformers
from fdrd.commands.options import Device, Json, Plugins, Track, load_plugins


def run(
    experiment: Annotated[
        Path, typer.Argument(metavar="FILE", help="Experiment file, see docs/experiments.md.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the cells and which have a result; run nothing.")
    ] = False,
    jobs: Annotated[int, typer.Option(metavar="N", min=1, help="Number of processes.")] = 1,
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Use this backbone instead of those in the file; may be file.py:function.",
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            "-o",
            metavar="FOLDER",
            help="Folder of result files, instead of the one in the file.",
        ),
    ] = None,
    track: Track = None,
    plugin: Plugins = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Run an experiment file: methods, data, backbones, protocols and seeds, one result file per cell.

    Cells with a result are not repeated, and an interrupted training resumes. A cell that fails does not stop
    the others. `fdrd report`, `fdrd compare` and `fdrd view` read the results folder.

    Examples:
        fdrd run experiment.toml --jobs 2
    """
    quiet_transformers()
    from msgspec.structs import replace

    from benchmark.experiments.plan import brief, read_experiment

    load_plugins(plugin)
    plan = read_experiment(experiment)
    if backbone:
        plan = replace(plan, backbones=[backbone])
    if results:
        plan = replace(plan, results=str(results))
    if dry_run:
        from benchmark.experiments.execution import states

        rows = states(plan)
        if json:
            print_json([{"cell": cell.name, "state": state} for cell, state in rows])
        else:
            cells = [cell for cell, _ in rows]
            print_table(("state", "cell"), [(state, brief(cell, cells)) for cell, state in rows])
        return
    from benchmark.runner.description import check_runs

    check_runs(plan.cells(), device=device, results=plan.results)
    from benchmark.experiments.execution import run_experiment

    with show_runs(plan.results) as progress:
        outcome = run_experiment(
            plan,
            jobs=jobs,
            plugins=plugin or (),
            device=device,
            track=track,
            allow_code=backbone is not None,
            progress=progress,
        )
    print_results(outcome, plan.results, json)
    raise_failed(outcome)
