"""`fdrd sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fdrd.commands.console import out, print_hint, show_progress
from fdrd.commands.options import SameTarget, Target, Workers, one_of


def sample(
    folder: Target = None,
    target: SameTarget = None,
    categories: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of fine categories.")
    ] = 120,
    pairs: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of image-caption pairs.")
    ] = 2400,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the images and captions.")] = 0,
    size: Annotated[
        int, typer.Option(metavar="N", min=32, max=1024, help="Height and width in pixels.")
    ] = 128,
    workers: Workers = None,
) -> None:
    """Draw a raw source: images of made-up species and objects, with captions and attributes.

    Examples:
        fdrd sample raw/ --categories 120 --pairs 2400
    """
    from fdrd.field_guide import sample as draw_sample
    from fdrd.files.atomic import disk_errors

    home = Path(one_of(folder, target, "give one FOLDER to write to, e.g. fdrd sample raw/"))
    with show_progress("Run the same command again to resume.") as progress, disk_errors(home):
        draw_sample(
            home, categories=categories, pairs=pairs, seed=seed, size=size, workers=workers,
            progress=progress,
        )  # fmt: skip
    out.print(f"Drew {pairs:,} pairs of {categories:,} categories into {home}")
    print_hint(f"Next:  fdrd build {home}")
