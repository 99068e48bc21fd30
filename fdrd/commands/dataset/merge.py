"""`fdrd merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fdrd.commands.console import Json, app, print_json, show_progress
from fdrd.commands.dataset.build_options import Engine, Workers, print_build, tokens_of


@app.command(epilog="Example:  fdrd merge data/parts/* --out data/fdrd")
def merge(
    parts: Annotated[list[Path], typer.Argument(help="Folders of all parts, in any order.")],
    target: Annotated[Path, typer.Option("--out", help="Folder of the dataset.")] = Path(
        "data/fdrd"
    ),
    workers: Workers = None,
    engine: Engine = "local",
    json: Json = False,
) -> None:
    """Put the parts of a build together, which `fdrd build --part I/N` wrote: the bytes are those of one build.

    The source is not needed. A rerun does nothing where nothing changed, and goes on where a run was stopped.
    """
    from fdrd.pipeline.builder import merge as run_merge

    # `data/parts/*` names the work folders beside the parts as well.
    parts = [part for part in parts if part.suffix != ".work"]
    with show_progress(
        f"What is done is kept in {target}.work; the same command goes on from there."
    ) as progress:
        built = run_merge(
            parts, target, workers=workers, engine=engine, tokens=tokens_of, progress=progress
        )
    if json:
        print_json({"nothing_to_do": built.nothing_to_do, **built.manifest})
        return
    print_build(built)
