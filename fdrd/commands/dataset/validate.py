"""`fdrd validate`."""

from __future__ import annotations

from typing import Annotated

import typer

from fdrd.commands.console import out, print_json, show_progress
from fdrd.commands.options import Json, OptionalFolder, default_dataset


def validate(
    dataset: OptionalFolder = None,
    images: Annotated[
        bool,
        typer.Option(
            "--images", help="Also decode every image and find near duplicates in other splits."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Check every digest, count, span, negative and split of a dataset. Exit with 1 on any problem.

    Examples:
        fdrd validate data/fdrd
    """
    from dataclasses import asdict

    from fdrd.checks.validation import validate as check

    folder = dataset or default_dataset()
    with show_progress("Nothing was changed.") as progress:
        problems = check(folder, images=images, progress=progress)
    if json:
        print_json([asdict(problem) for problem in problems])
    else:
        for problem in problems:
            out.print(f"{problem.place}: {problem.what}")
        out.print(f"{folder}: {len(problems)} problems" if problems else f"{folder}: valid")
    if problems:
        raise typer.Exit(1)
