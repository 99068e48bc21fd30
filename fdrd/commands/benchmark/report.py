"""`fdrd report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fdrd.commands.console import app, out


@app.command(epilog="Example:  fdrd report runs/ > results.md")
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of result files.")] = Path("runs"),
    html: Annotated[
        Path | None,
        typer.Option(
            help="Write one HTML file instead, with examples if the data is on this machine."
        ),
    ] = None,
    form: Annotated[
        Literal["markdown", "html", "latex", "csv"],
        typer.Option("--format", help="csv has one line per result file, latex the main tables."),
    ] = "markdown",
    figures: Annotated[
        Path | None,
        typer.Option(
            help="Also write the plots as SVG files into this folder, e.g. validation MRR by optimizer steps "
            "and MRR by shots."
        ),
    ] = None,
    published: Annotated[
        Path | None,
        typer.Option(
            "--beside",
            help="Print recalls beside published ones from this JSON file instead, per domain and in the mean, "
            "and how the protocols differ. docs/experiments.md describes the format.",
        ),
    ] = None,
) -> None:
    """Print the results in a folder as Markdown, or write them as HTML: tables, ceilings, settings.

    The HTML file is self-contained. It adds a table by category, and the images on which DCAR, or else the best
    method, gains and loses most.
    """
    from benchmark.reporting.pages import report as build_report

    if published:
        from benchmark.reporting.published import beside, read_published
        from benchmark.reporting.terminal import rendered
        from benchmark.result import read_results

        out.print(rendered(beside(read_results(folder), read_published(published))))
        return
    text = build_report(folder, format=form, html=html, figures=figures)
    if html is None:
        print(text, end="")  # noqa: T201  # Markdown, so without rich
    else:
        out.print(f"Wrote {html}")
