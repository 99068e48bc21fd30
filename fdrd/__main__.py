"""The command line, whose commands are functions in `fdrd/commands/`."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from traceback import print_exception
from typing import Annotated

import typer

from fdrd.commands import app, err, out
from fdrd.commands.console import shown
from fdrd.errors import CheckError, FdrdError
from fdrd.files.atomic import remedy_of
from fdrd.files.paths import is_of_cache
from fdrd.imports import hidden_packages


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
        with _written_output():
            app()
    except (FdrdError, OSError) as error:
        if not (text := _line(error)):
            raise
        err.quiet = False  # neither --quiet nor being one of several processes hides an error
        if shown.tracebacks:
            print_exception(error)
        process = os.environ.get("RANK", "0")  # set by torchrun
        name = "fdrd:" if process == "0" else f"fdrd, process {process}:"
        err.print(name, style="bold red", end=" ")
        err.print(text, soft_wrap=True)
        sys.exit(1 if isinstance(error, CheckError) else 2)


@contextmanager
def _written_output() -> Iterator[None]:
    """Write what was printed when the block ends: at the end of the process an error would be lost."""
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        except OSError as error:
            # What could not be written stays in the buffer, and Python would try again.
            with suppress(OSError, ValueError), open(os.devnull, "w") as nothing:  # noqa: PTH123
                os.dup2(nothing.fileno(), sys.stdout.fileno())
            if not isinstance(error, BrokenPipeError):  # a pipe that was closed, e.g. by `head`
                raise OSError(error.errno, error.strerror, "standard output") from None


def _line(error: FdrdError | OSError) -> str:
    """Return the error as one line; empty if it concerns neither the user nor a disk, e.g. a closed pipe."""
    if isinstance(error, FdrdError):
        return str(error)
    remedy = remedy_of(error)
    if not (error.strerror and (error.filename or remedy)):
        return ""
    if error.filename and is_of_cache(error.filename):
        remedy = "FDRD_CACHE names another cache"
    text = f"{error.filename or 'a file or the output cannot be written'}: {error.strerror}"
    return f"{text}; {remedy}" if remedy else text


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
    """Build fine-grained image-text datasets, and compare retrieval methods on them."""


if __name__ == "__main__":
    main()
