"""What every command has: `--quiet`, `--verbose`, and a help text without the line breaks of its docstring."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import click
import typer

from fdrd.commands.console import err, shown
from fdrd.errors import FdrdError

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
        try:
            return command(**options)
        except FdrdError as error:
            error.args = (with_flags(str(error)),)
            raise

    parameters = [*signature.parameters.values(), *added]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


_OTHER_NAMES = {"columns": "map", "options": "method_option", "train": "train_option"}
"""Names of options of the command line by the name of the argument in Python."""


def with_flags(message: str) -> str:
    """Return a message with the options of the running command in place of arguments, which are in backticks."""
    context = click.get_current_context(silent=True)
    flags = {}
    for parameter in context.command.params if context else ():
        for flag in sorted(parameter.opts, key=len):
            shown_as = flag if flag.startswith("-") else flag.upper()
            flags[flag.lstrip("-").replace("-", "_")] = flags[str(parameter.name)] = shown_as

    def flag_of(found: re.Match[str]) -> str:
        name = _OTHER_NAMES.get(found[1], found[1])
        return flags.get(found[1]) or flags.get(name) or found[0]

    return re.sub(r"`(\w+)`", flag_of, message)


def help_text(command: Callable[..., Any]) -> str:
    """Return the docstring of a command up to its note, with one line per paragraph, which the help wraps itself."""
    text = (inspect.getdoc(command) or "").partition("\n\nNote:")[0]
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text)
