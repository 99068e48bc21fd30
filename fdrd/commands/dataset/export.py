"""`fdrd export`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fdrd.commands.console import app, err, out, print_json, print_table, show_progress
from fdrd.commands.options import Data, Json, SameTarget, Target, one_of
from fdrd.exports.formats import FORMATS, FormatName, Task, not_carried

_FORMATS = "; ".join(f"{name}: {what}" for name, what in FORMATS.items())


@app.command(epilog="Example:  fdrd export data/fdrd --to webdataset wds/")
def export(
    data: Data,
    to: Annotated[FormatName, typer.Option(help=f"{_FORMATS}.")],
    folder: Target = None,
    target: SameTarget = None,
    task: Annotated[
        Task,
        typer.Option(
            help="webdataset: captions for retrieval, or class names for classification and probes."
        ),
    ] = "zeroshot_retrieval",
    split: Annotated[str | None, typer.Option(help="Only this split.")] = None,
    domain: Annotated[str | None, typer.Option(help="Only this domain.")] = None,
    shard_mb: Annotated[
        int, typer.Option(min=1, help="webdataset: close a shard at this size.")
    ] = 1000,
    json: Json = False,
) -> None:
    """Write a dataset in another tool's format.

    Each domain becomes a folder. fdrd build reads webdataset, coco, karpathy, jsonl and imagefolder back.

    [b]webdataset[/]: tar shards for clip_benchmark, with one root per domain. Recalls equal those of
    fdrd bench except for ties, which clip_benchmark breaks arbitrarily.
    """
    from fdrd.exports.writing import export as write_export

    home = Path(one_of(folder, target, "give one FOLDER to write to, e.g. -o wds/"))
    with show_progress("Nothing was written; run the command again to start over.") as progress:
        found = write_export(
            data, home, to=to, task=task, split=split, domain=domain,
            shard_bytes=shard_mb * 10**6, progress=progress,
        )  # fmt: skip
    err.print(f"Wrote {home}. Not carried over: {not_carried(to)}", soft_wrap=True)
    if json:
        print_json([asdict(each) for each in found])
        return
    print_table(
        ("domain", "split", "images", "captions"),
        [(each.domain, each.split, f"{each.images:,}", f"{each.captions:,}") for each in found],
    )
    if to == "webdataset":
        last = found[-1]
        recall = " --recall_k 1 5 10 --no_amp" if task == "zeroshot_retrieval" else ""
        out.print(
            f"Next:  clip_benchmark eval --dataset wds/{last.domain} --split {last.split} "
            f"--dataset_root {home}/{last.domain} --task {task}{recall}",
            style="dim",
        )
