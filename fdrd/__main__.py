"""The command line. Each command is a file in `fdrd/commands/`."""

from __future__ import annotations

import io
import os
import sys
from traceback import print_exception
from typing import Annotated

import typer

from fdrd.commands import app, err, out
from fdrd.commands.console import shown
from fdrd.errors import CheckError, FdrdError
from fdrd.files.cache import is_of_cache
from fdrd.shadowing import hidden_packages


def main() -> None:
    """Run the command line. A user error prints one line and exits with 2, a failed check with 1."""
    # Compute threads that spin while they wait for each other crawl as soon as another process runs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may not be valid text
    try:
        if hidden := hidden_packages():
            raise FdrdError(hidden)
        app()
    except (FdrdError, OSError) as error:
        if isinstance(error, OSError) and not (error.filename and error.strerror):
            raise  # not a disk or a folder, e.g. a pipe that was closed
        err.quiet = False  # neither --quiet nor being one of several processes hides an error
        if shown.tracebacks:
            print_exception(error)
        process = os.environ.get("RANK", "0")  # set by torchrun
        name = "fdrd:" if process == "0" else f"fdrd, process {process}:"
        err.print(name, style="bold red", end=" ")
        text = str(error)
        if isinstance(error, OSError):
            remedy = "; FDRD_CACHE names another cache" if is_of_cache(error.filename) else ""
            text = f"{error.filename}: {error.strerror}{remedy}"
        err.print(text, soft_wrap=True)
        sys.exit(1 if isinstance(error, CheckError) else 2)


def _print_version(wanted: bool) -> None:
    if wanted:
        from fdrd import __version__

        out.print(f"fdrd {__version__}")
        raise typer.Exit


@app.callback()
def fdrd(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Build described fine-category datasets, and compare image-text retrieval methods on them."""


if __name__ == "__main__":
    main()
