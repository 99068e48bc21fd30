"""`fdrd run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fdrd.commands.benchmark.bench_options import Log
from fdrd.commands.benchmark.paper_run import raise_failed
from fdrd.commands.console import (
    app,
    print_hint,
    print_json,
    print_report,
    print_table,
    quiet_transformers,
    show_progress,
)
from fdrd.commands.options import Device, Json, Plugins, load_plugins


@app.command(epilog="Example:  fdrd run experiment.toml --jobs 2")
def run(
    experiment: Annotated[Path, typer.Argument(help="Experiment file, see docs/experiments.md.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the cells and which have a result; run nothing.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Number of processes.")] = 1,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Use this backbone instead of those in the file; may be file.py:function."
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results", "-o", help="Folder of result files, instead of the one in the file."
        ),
    ] = None,
    track: Log = None,
    plugin: Plugins = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Run an experiment file: methods, data, backbones, protocols and seeds, one result file per cell.

    Cells with a result are not repeated, and an interrupted training resumes. A cell that fails does not stop
    the others. `fdrd report`, `fdrd compare` and `fdrd view` read the results folder.
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
        from benchmark.experiments.state import states

        rows = states(plan)
        if json:
            print_json([{"cell": cell.name, "state": state} for cell, state in rows])
        else:
            cells = [cell for cell, _ in rows]
            print_table(("state", "cell"), [(state, brief(cell, cells)) for cell, state in rows])
        return
    from benchmark.experiments.execution import run_experiment
    from benchmark.reporting.terminal import table
    from benchmark.result import to_json

    hint = f"Finished runs and unfinished training are saved in {plan.results}"
    with show_progress(f"{hint}; the same command continues.") as progress:
        outcome = run_experiment(
            plan,
            jobs=jobs,
            plugins=plugin or (),
            device=device,
            track=track,
            allow_code=backbone is not None,
            progress=progress,
        )
    if json:
        print_json([to_json(result) for result in outcome.results])
    elif outcome.results:
        print_report(table(outcome.results))
        print_hint(f"Next:  fdrd report {plan.results}        fdrd compare {plan.results}")
    raise_failed(outcome)
