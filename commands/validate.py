"""`fdrd validate`."""

from __future__ import annotations

import typer

from commands.console import Folder, Json, app, out, print_json, show_progress


@app.command(epilog="Example:  fdrd validate data/fdrd")
def validate(folder: Folder, json: Json = False) -> None:
    """Check every digest, count, span, negative and split of a dataset; exit 1 if something is wrong."""
    from dataclasses import asdict

    from fdrd.validate import validate as check

    with show_progress("Nothing was changed.") as progress:
        problems = list(check(folder, progress))
    if json:
        print_json([asdict(problem) for problem in problems])
    else:
        for problem in problems:
            out.print(f"{problem.place}: {problem.what}")
        out.print(f"{folder}: {len(problems)} problems" if problems else f"{folder}: valid")
    if problems:
        raise typer.Exit(1)
