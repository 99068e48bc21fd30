"""`fdrd demo`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from fdrd.commands.bench import raise_failed
from fdrd.commands.build import tokens_of
from fdrd.commands.console import err, out, quiet_transformers, show_progress
from fdrd.commands.options import SameTarget, one_of
from fdrd.options import MOST_SEEDS


def demo(
    folder: Annotated[Path | None, typer.Argument(metavar="FOLDER")] = None,
    target: SameTarget = None,
    seeds: Annotated[int, typer.Option(metavar="N", min=1, max=MOST_SEEDS)] = 1,
) -> None:
    """Draw a source, build a dataset, train methods and rank them: a few minutes on two cores, offline.

    Some training images have planted flaws, to show what a build finds. The embedded CLIP has never seen
    these categories, and every method is trained from scratch, in equally many steps. After Ctrl-C, the same
    command continues. A finished demo prints its table again.

    Args:
        folder: Folder for the data, the results and the report; default: demo.
        seeds: Number of training seeds.

    Examples:
        fdrd demo
    """
    quiet_transformers()
    import benchmark
    from fdrd.build_config import BuildConfig
    from fdrd.commands.demo_plan import PLAN
    from fdrd.field_guide import FLAWS, sample
    from fdrd.pipeline.builder import build

    folder = Path(one_of(folder, target or (None if folder else Path("demo")), "give one folder"))
    raw, data, runs = folder / "raw", folder / "data/fdrd", folder / "runs"
    report = folder / "report.html"
    plan = benchmark.Experiment(
        data=str(data), methods=PLAN.methods, train=PLAN.train, seeds=seeds, results=str(runs)
    )
    with show_progress(f"Finished work is saved in {folder}; the same command continues.") as bar:
        err.print(
            f"1/4  Drawing {PLAN.pairs:,} images of {PLAN.categories} made-up categories, with "
            f"{len(FLAWS)} planted flaws"
        )
        sample(raw, categories=PLAN.categories, pairs=PLAN.pairs, flawed=True, progress=bar)
        err.print("2/4  Building the dataset: checks, splits, attributes, hard negatives, shards")
        config = BuildConfig(name="fdrd-demo", backbone="embedded")
        records = build(raw, data, config=config, tokens=tokens_of, progress=bar).manifest.records
        err.print(f"3/4  Training and measuring {', '.join(row.row for row in plan.rows())}")
        outcome = benchmark.run_experiment(plan, progress=bar)
        raise_failed(outcome)
        err.print("4/4  Writing the report")
        benchmark.report(outcome.results, html=report)
    out.report(benchmark.table(outcome.results))
    out.print(
        f"Build: {records.read:,} read = {records.kept:,} kept + {records.rejected:,} rejected "
        f"({len(FLAWS)} flaws were planted)"
    )
    out.print("Look at:")
    shown = shlex.quote(str(runs))
    for command, why in (
        (
            f"fdrd view {shlex.quote(str(data))} --source {shlex.quote(str(raw))} --results {shown} --review demo",
            "images and queries; Rejected, Duplicates and Review show the flaws",
        ),
        (f"fdrd compare {shown}", "which differences are statistically significant"),
        (f"python -m webbrowser {shlex.quote(str(report))}", "the report"),
    ):
        out.print(f"  {command}", end="", soft_wrap=True)
        out.print(f"   # {why}", style="dim", soft_wrap=True)
    out.print("Next: fdrd build your/images   # your own data: one folder per category")
