"""`fdrd sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fdrd.commands.console import app, out, show_progress


@app.command(epilog="Example:  fdrd sample raw/ --categories 120 --pairs 2400")
def sample(
    folder: Annotated[Path, typer.Argument(help="Folder to draw into; new or empty.")],
    categories: Annotated[int, typer.Option(min=1, help="Number of fine categories.")] = 120,
    pairs: Annotated[int, typer.Option(min=1, help="Number of image-caption pairs.")] = 2400,
    seed: Annotated[int, typer.Option(help="Another seed draws another field guide.")] = 0,
    size: Annotated[int, typer.Option(min=32, max=1024, help="Height and width in pixels.")] = 128,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; one per core by default.")
    ] = None,
) -> None:
    """Draw a raw source: images of made-up species and things, with captions and attributes."""
    from fdrd.field_guide import sample as draw_sample

    with show_progress("The same command goes on from here.") as progress:
        draw_sample(
            folder,
            categories=categories,
            pairs=pairs,
            seed=seed,
            size=size,
            workers=workers,
            progress=lambda done, total: progress("drawing", done, total),
        )
    out.print(f"Drew {pairs:,} pairs of {categories:,} categories into {folder}")
    out.print(f"Next:  fdrd build --source {folder}", style="dim")
