"""`fdrd report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fdrd.commands.console import app, out


@app.command(epilog="Example:  fdrd report runs/ > results.md")
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of result files.")] = Path("runs"),
    html: Annotated[
        Path | None,
        typer.Option(help="Write one HTML file instead, with examples where the data are at hand."),
    ] = None,
) -> None:
    """Print the results in a folder as Markdown: tables, ceilings, settings; or write them as HTML.

    The HTML file needs nothing beside it. It adds a table by category, and pictures of queries where
    DCAR, else the best method, gains and loses most.
    """
    from benchmark.reporting.html_report import page
    from benchmark.reporting.markdown_report import markdown
    from benchmark.result import read_results
    from fdrd.files.atomic import write_text

    results = read_results(folder)
    if html is None:
        print(markdown(results))  # noqa: T201 - Markdown goes out as it is
    else:
        write_text(html, page(results))
        out.print(f"Wrote {html}")
