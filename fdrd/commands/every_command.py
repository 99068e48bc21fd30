"""What every command has: `--quiet`, `--verbose`, and a help text without the line breaks of its docstring."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from fdrd.commands.console import err, shown

Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print results and errors only.", rich_help_panel="Output"),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Print the log of every library, and a traceback for each error.",
        rich_help_panel="Output",
    ),
]


def with_verbosity(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command with the two options added."""
    signature = inspect.signature(command, eval_str=True)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in (("quiet", Quiet), ("verbose", Verbose))
    ]

    @wraps(command)
    def run(*, quiet: bool, verbose: bool, **options: Any) -> Any:
        err.quiet, shown.hints, shown.tracebacks = quiet, not quiet, verbose
        if verbose:
            logging.basicConfig(level=logging.INFO)
        return command(**options)

    parameters = [*signature.parameters.values(), *added]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def help_text(command: Callable[..., Any]) -> str:
    """Return the docstring of a command up to its note, with one line per paragraph, which the help wraps itself."""
    text = (inspect.getdoc(command) or "").partition("\n\nNote:")[0]
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text)
