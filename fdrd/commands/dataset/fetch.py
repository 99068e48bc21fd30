"""`fdrd fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fdrd.commands.console import err, out, print_hint, print_table, show_progress
from fdrd.commands.options import SameTarget
from fdrd.errors import FdrdError


def fetch(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Name of a set; without one, list the sets."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="New or empty folder; raw/NAME by default."),
    ] = None,
    out_folder: SameTarget = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Accept license and terms without asking.")
    ] = False,
    local: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FOLDER",
            help="Folder with files that are here already; they are checked, too.",
        ),
    ] = None,
    mirror: Annotated[
        str,
        typer.Option(
            metavar="URL", help="URL with the files as NAME/FILE, instead of the original places."
        ),
    ] = "",
    accept_unverified: Annotated[
        bool, typer.Option("--accept-unverified", help="Use files of which no digest is known.")
    ] = False,
) -> None:
    """Download a public set of images, with the authors' captions if they are published.

    Shows license, size and terms, and asks first. Files are checked by digest, and an interrupted download
    resumes. Files that need a form or a browser are named, with the place to get them.

    Examples:
        fdrd fetch caltech101 raw/caltech101
    """
    from fdrd.fetching.fetching_run import FetchOptions, fetch_set, missing_by_hand, unverified
    from fdrd.fetching.table import find_set, read_table

    if folder and out_folder:
        raise FdrdError("the folder is given twice; remove --out")
    table = read_table()
    if name is None:
        print_table(
            ("name", "title", "license", "size"),
            [
                (
                    each.name,
                    each.title,
                    each.license,
                    f"{sum(file.mb for file in each.files):,.0f} MB",
                )
                for each in table.values()
            ],
        )
        return
    chosen = find_set(name, table)
    options = FetchOptions(local, mirror, accept_unverified)
    size = sum(file.mb for file in chosen.files if not file.optional)
    for line in (
        chosen.title,
        f"  license: {chosen.license}",
        f"  terms:   {chosen.terms}",
        f"  size:    about {size:,.0f} MB, and as much again unpacked",
        f"  note:    {chosen.note}" if chosen.note else "",
        *(f"  by hand: {each}" for each in missing_by_hand(chosen, options)),
        *(f"  no known digest: {each}" for each in unverified(chosen, options)),
    ):
        if line:
            err.print(line, soft_wrap=True)
    if not yes:
        typer.confirm("Do you accept these terms?", abort=True, err=True)
    target = folder or out_folder or Path("raw") / chosen.name
    with show_progress("Run the same command again to resume.") as progress:
        fetch_set(chosen, target, options, progress)
    out.print(f"Fetched {chosen.title} into {target}")
    print_hint(f"Next:  fdrd build {target}")
