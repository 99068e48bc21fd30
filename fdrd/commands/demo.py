"""`fdrd demo`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from fdrd.commands.benchmark.known_methods import quiet_transformers, register_methods
from fdrd.commands.console import app, err, out, show_progress
from fdrd.commands.dataset.build_options import tokens_of


@app.command(epilog="Example:  fdrd demo")
def demo(
    folder: Annotated[
        Path, typer.Argument(help="Folder for the data, the results and the report.")
    ] = Path("demo"),
    seeds: Annotated[int, typer.Option(min=1, help="Train with so many seeds.")] = 1,
) -> None:
    """Draw a source, build it, train methods on it and rank them: minutes on two cores, offline.

    Nothing is shipped but a small CLIP that never saw these categories: every method is trained here and
    now. Ctrl-C and the same command go on where it was; when all is done, it prints the table again.
    """
    register_methods([])
    import benchmark
    from benchmark.reporting.comparison import short_label
    from benchmark.reporting.html_report import page
    from benchmark.result import BenchResult
    from fdrd.build_config import BuildConfig
    from fdrd.commands.demo_plan import PLAN
    from fdrd.field_guide import sample
    from fdrd.files.atomic import write_text
    from fdrd.pipeline.builder import build

    quiet_transformers()
    raw, data, runs, report = (
        folder / name for name in ("raw", "data/fdrd", "runs", "report.html")
    )
    found: list[BenchResult] = []
    with show_progress(f"What is done is kept in {folder}; the same command goes on.") as progress:
        err.print(f"1/4  Drawing {PLAN.pairs:,} images of {PLAN.categories} made-up categories")
        sample(
            raw,
            categories=PLAN.categories,
            pairs=PLAN.pairs,
            progress=progress,
        )
        err.print("2/4  Building the dataset: checks, splits, attributes, hard negatives, shards")
        build(
            raw, data, config=BuildConfig(backbone="embedded"), tokens=tokens_of, progress=progress
        )
        err.print(f"3/4  Training and measuring {', '.join(PLAN.methods)}")
        tower = benchmark.open_backbone(None, data)
        for name, trained in PLAN.methods.items():
            results, failed = benchmark.run_each(
                [name], str(data), seeds=range(seeds), options={name: trained.options},
                train={**PLAN.effort, **trained.train}, split="test", backbone=tower,
                results=runs, progress=progress,
            )  # fmt: skip
            if failed:
                raise failed[name]
            found += results
        err.print("4/4  Writing the report")
        write_text(report, page(found, short_label))
    out.print(benchmark.table(found, short_label))
    out.print(f"Report: {report}")
    out.print("Next:")
    shown = shlex.quote(str(runs))
    for command, why in (
        (f"fdrd compare {shown}", "which differences are no chance"),
        (f"fdrd bench --method clip_adapter --results {shown}", "another method, on the same data"),
        ("fdrd build --source your/images", "your own: a folder for each category"),
    ):
        out.print(f"  {command}", end="")
        out.print(f"   # {why}", style="dim")
