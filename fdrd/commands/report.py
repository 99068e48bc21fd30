"""`fdrd report` and `fdrd compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fdrd.commands.console import out
from fdrd.commands.options import Json
from fdrd.errors import FdrdError


def report(
    folder: Annotated[Path, typer.Argument(metavar="RESULTS")] = Path("runs"),
    html: Annotated[Path | None, typer.Option(metavar="FILE")] = None,
    form: Annotated[
        Literal["markdown", "html", "latex", "csv"], typer.Option("--format")
    ] = "markdown",
    target: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE")] = None,
    figures: Annotated[Path | None, typer.Option(metavar="FOLDER")] = None,
    published: Annotated[Path | None, typer.Option("--beside", metavar="FILE")] = None,
) -> None:
    """Print the results in a folder as Markdown, or write them as HTML: tables, ceilings, settings.

    The HTML file is self-contained. It adds a table by category, and the images on which the best method gains and
    loses most.

    Args:
        folder: Folder of result files.
        html: Write one HTML file instead, with examples if the data is on this machine.
        form: csv has one line per result file, latex the main tables.
        target: Write the text to this file instead.
        figures: Also write the plots as SVG, PDF and PNG files into this folder, e.g. validation MRR by optimizer steps
            and MRR by shots.
        published: Print recalls next to published ones from this JSON file instead, per domain and in the mean, and how
            the protocols differ. `paper` stands for those of DCAR. docs/experiments.md describes the format.

    Examples:
        fdrd report runs/ > results.md
        fdrd report runs/ --html report.html
    """
    from benchmark.reporting.pages import report as build_report
    from fdrd.files.atomic import write_text

    if target and (html or published):
        raise FdrdError("--out writes what --format says; leave out --html and --beside")
    if published:
        from benchmark.reporting.pages import rendered
        from benchmark.reporting.published import PAPER, beside, read_published
        from benchmark.result import read_results

        file = PAPER if published == Path("paper") else published
        out.print(rendered(beside(read_results(folder), read_published(file))))
        return
    text = build_report(folder, format=form, html=html, figures=figures)
    if target is not None:
        write_text(target, text)
    if written := [str(path) for path in (target, html) if path is not None]:
        out.print(f"Wrote {' and '.join(written)}")
    else:
        print(text, end="")  # noqa: T201  # Markdown, so without rich


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RESULTS")],
    against: Annotated[str | None, typer.Option(metavar="METHOD")] = None,
    json: Json = False,
) -> None:
    """Compare methods with paired significance tests on the MRR.

    Nothing is run again, because result files contain the rank of every query. Seeds of a method are
    averaged. Files must share data, split, gallery and backbone; groups in a folder are compared separately.

    Args:
        runs: Result files, or folders of them.
        against: Method to compare with; by default zero_shot, otherwise the first by name.

    Examples:
        fdrd compare runs/ --against zero_shot
    """
    from benchmark.results import compare as run_tests
    from benchmark.results import significance_table

    tests = run_tests(runs, against)
    if json:
        out.json(tests.to_json())
    else:
        out.report(significance_table(tests))
