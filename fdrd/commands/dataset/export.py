"""`fdrd export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fdrd.commands.console import Json, app, out, print_json, show_progress


class Form(StrEnum):
    """What another tool reads."""

    webdataset = "webdataset"


class Task(StrEnum):
    """What clip_benchmark is to do with it."""

    zeroshot_retrieval = "zeroshot_retrieval"
    zeroshot_classification = "zeroshot_classification"


@app.command(epilog="Example:  fdrd export data/fdrd --to webdataset wds/")
def export(
    data: Annotated[str, typer.Argument(help="Folder, registered name or Hub id.")],
    folder: Annotated[Path, typer.Argument(help="Where to write; new or empty.")],
    to: Annotated[Form, typer.Option(help="webdataset: tar shards for clip_benchmark.")],
    task: Annotated[
        Task,
        typer.Option(help="Captions for retrieval, or class names for classification and probes."),
    ] = Task.zeroshot_retrieval,
    split: Annotated[str | None, typer.Option(help="Only this split.")] = None,
    domain: Annotated[str | None, typer.Option(help="Only this domain.")] = None,
    shard_mb: Annotated[int, typer.Option(min=1, help="Close a shard at this size.")] = 1000,
    json: Json = False,
) -> None:
    """Write a dataset in the form of another tool, so that its users evaluate on it.

    [b]webdataset[/]: what clip_benchmark reads, a root for each domain. It gives the recalls that
    fdrd bench gives, but for ties, which it counts by chance.
    """
    from dataclasses import asdict

    from rich.table import Table

    from fdrd.exports.webdataset import export_webdataset

    with show_progress("Nothing was written; the same command begins again.") as progress:
        found = export_webdataset(
            data, folder, task=task.value, split=split, domain=domain,
            shard_bytes=shard_mb * 10**6, progress=progress,
        )  # fmt: skip
    if json:
        print_json([asdict(each) for each in found])
        return
    table = Table("domain", "split", "images", "captions", "shards", box=None, header_style="bold")
    for each in found:
        counts = (f"{each.images:,}", f"{each.captions:,}", f"{each.shards:,}")
        table.add_row(each.domain, each.split, *counts)
    out.print(table)
    first = found[-1]
    recall = " --recall_k 1 5 10 --no_amp" if task is Task.zeroshot_retrieval else ""
    out.print(
        f"Next:  clip_benchmark eval --dataset wds/{first.domain} --split {first.split} "
        f"--dataset_root {folder}/{first.domain} --task {task.value}{recall}",
        style="dim",
    )
