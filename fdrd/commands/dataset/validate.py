"""`fdrd validate`."""

from __future__ import annotations

from typing import Annotated

import typer

from fdrd.commands.console import app, out, print_json, show_progress
from fdrd.commands.options import Folder, Json


@app.command(epilog="Example:  fdrd validate data/fdrd")
def validate(
    folder: Folder,
    images: Annotated[
        bool,
        typer.Option(
            "--images", help="Also decode every image and find near duplicates in other splits."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Check every digest, count, span, negative and split of a dataset. Exit with 1 on any problem."""
    from dataclasses import asdict

    from fdrd.checks.validation import validate as check

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
