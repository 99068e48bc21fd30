"""`fdrd audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands.console import Json, app, err, out, print_json
from fdrd.error import FdrdError


@app.command(epilog="Example:  fdrd audit data/fdrd        fdrd audit --source raw/")
def audit(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder that `fdrd build` wrote; or give --source.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option(help="Folder of annotations; the pictures need not be there.")
    ] = None,
    blind: Annotated[
        bool, typer.Option(help="Train the text-only readers: some seconds per thousand rows.")
    ] = True,
    card: Annotated[
        bool, typer.Option(help="Put the figures on the dataset's card, README.md.")
    ] = True,
    json: Json = False,
) -> None:
    """Count flaws of captions and negatives, and see what a reader without pictures makes of them.

    The figures are put on the card of a built dataset; without the text-only readers they are there
    since the build. A source is audited file by file, after the normalisation that a build would do; how often each of
    its rules applied is printed too.
    """
    from dataclasses import asdict

    from fdrd.audit import audit as run_audit
    from fdrd.audit import tables
    from fdrd.audited import of_dataset, of_source
    from fdrd.card import put_audit
    from fdrd.hub.source import local_source
    from fdrd.manifest import read_manifest

    if (folder is None) == (source is None):
        raise FdrdError("give a built dataset, or --source with annotations")
    digest = read_manifest(folder)["digest"] if folder else ""
    source = local_source(source) if source else None
    records, rules = of_dataset(folder) if folder else of_source(source or Path())
    found = run_audit(records, blind=blind)
    if json:
        print_json({"audits": [asdict(each) for each in found], "rules": rules})
    else:
        out.print(tables(found))
        for rule, count in rules.items():
            out.print(f"{count:,} times: {rule}")
    if folder and blind and card:
        err.print(f"On the card now: {put_audit(folder, found, digest)}", soft_wrap=True)
