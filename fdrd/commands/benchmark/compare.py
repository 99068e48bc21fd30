"""`fdrd compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fdrd.commands.console import print_json, print_report
from fdrd.commands.options import Json


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RESULTS", help="Result files, or folders of them.")
    ],
    against: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD",
            help="Method to compare with; by default zero_shot, otherwise the first by name.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Compare methods with paired significance tests on the MRR.

    Nothing is run again, because result files contain the rank of every query. Seeds of a method are
    averaged. Files must share data, split, gallery and backbone; groups in a folder are compared separately.

    Examples:
        fdrd compare runs/ --against zero_shot
    """
    from benchmark.reporting.significance import compare as run_tests
    from benchmark.reporting.significance import significance_table

    tests = run_tests(runs, against)
    if json:
        print_json(tests.to_json())
    else:
        print_report(significance_table(tests))
