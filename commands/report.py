"""`fdrd report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands.console import app


@app.command(epilog="Example:  fdrd report runs/ > results.md")
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of result files.")] = Path("runs"),
) -> None:
    """Print the results in a folder as Markdown: tables, ceilings, settings."""
    from benchmark.report import markdown
    from benchmark.result import read_results

    print(markdown(read_results(folder)))  # noqa: T201 - Markdown goes out as it is
