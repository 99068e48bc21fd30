"""`fdrd compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fdrd.commands.console import Json, app, out, print_json


@app.command(epilog="Example:  fdrd compare runs/ --against zero_shot")
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Result files, or folders of them.")],
    against: Annotated[
        str | None,
        typer.Option(
            help="The method to compare with: by default dcar if it is there, else zero_shot."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Test methods against one of them, query by query: differences in MRR, intervals, p, verdicts.

    Nothing is run again: result files hold the rank of every query. Seeds of a method are averaged.
    Files must have been measured on the same data, split, gallery and backbone; in a folder, each
    such group is compared by itself.
    """
    from benchmark.reporting.significance import compare_runs, versus_json, versus_table

    found, alone = compare_runs(runs, against)
    if json:
        print_json(versus_json(found, alone))
    else:
        out.print(versus_table(found, alone))
