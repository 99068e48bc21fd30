"""The command line: `fdrd` and its version. Each command lies in `fdrd/commands/`."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from fdrd.commands import app, err, out
from fdrd.errors import CheckError, FdrdError


def main() -> None:
    """Runs the command line; a user's mistake is one line on stderr and exit code 2, a failed check 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may be no text at all
    try:
        app()
    except FdrdError as error:
        err.print("fdrd:", style="bold red", end=" ")
        err.print(str(error), soft_wrap=True)
        sys.exit(1 if isinstance(error, CheckError) else 2)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        out.print(f"fdrd {version('fdrd')}")
        raise typer.Exit


@app.callback()
def fdrd(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Build described fine-category datasets, and compare image-text retrieval methods on them."""


if __name__ == "__main__":
    main()
