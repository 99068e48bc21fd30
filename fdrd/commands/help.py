"""How commands are registered, and how `--help` is written: each name on its line, its text below, 80 columns wide.

The help of a command is the docstring of its function: text, then `Args:` with the help of each parameter that its
annotation does not give, then `Examples:`. Options in the panel `RARE` are named at the end; the page of the command
line describes them.
"""

from __future__ import annotations

import inspect
import logging
import os
import re
from collections.abc import Callable, Sequence
from functools import cache, partial
from textwrap import fill as wrap
from textwrap import indent
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from fdrd.commands import options
from fdrd.commands.console import err, shown
from fdrd.commands.options import RARE
from fdrd.errors import FdrdError
from fdrd.options import documented

fill = partial(wrap, width=80, break_on_hyphens=False)

_ARGUMENTS, _OPTIONS, _GENERAL = "Arguments", "Options", "General"


class HelpCommand(TyperCommand):
    """A command with `--quiet` and `--verbose`, and with the help of this module."""

    def __init__(self, name: str | None, *, params: Any, callback: Any, **settings: Any) -> None:
        texts = documented(str(options.__doc__)) | documented(inspect.getdoc(callback) or "")
        params = [*params, *_switches()]
        for param in params:
            param.help = texts.get(param.name, param.help)
        super().__init__(name, params=params, callback=callback, **settings)

    def invoke(self, ctx: Any) -> Any:
        """Run the command. An error of the library names arguments of Python; here it names options."""
        try:
            return super().invoke(ctx)
        except FdrdError as error:
            error.args = (with_flags(str(error), self.params),)
            raise

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write usage, text, arguments and options, and examples."""
        panels: dict[str, list[Any]] = {_ARGUMENTS: [], _OPTIONS: []}
        for param in self.get_params(ctx):
            panels.setdefault(_panel(param), []).append(param)
        parts = [_usage(self, ctx), _text(self.help or "")]
        rare = panels.pop(RARE, [])
        for panel, params in panels.items():
            entries = [entry for param in params if (entry := _entry(param, ctx))]
            parts += ["\n".join([_bold(f"{panel}:"), *entries])] if entries else []
        if rare:
            names = ", ".join(param.opts[0].removeprefix("--") for param in rare)
            parts.append(fill(f"{RARE}, see docs/command-line.md: {names}."))
        if self.epilog:
            parts.append(f"{_bold('Examples:')}\n{indent(self.epilog, '  ')}")
        formatter.write("\n\n".join(parts) + "\n")


class HelpGroup(TyperGroup):
    """The program, with the help of this module."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write usage, text, and the commands by panel."""
        panels: dict[str, list[str]] = {}
        for name, command in self.commands.items():
            sentence = re.split(r"(?<=\.)\s", command.help or "", maxsplit=1)[0]
            text = fill(sentence, initial_indent=f"  {name:10}", subsequent_indent=" " * 12)
            panel = getattr(command, "rich_help_panel", None) or "Commands"
            panels.setdefault(panel, []).append(text)
        parts = [_usage(self, ctx), _text(self.help or "")]
        parts += ["\n".join([_bold(f"{panel}:"), *lines]) for panel, lines in panels.items()]
        entries = [entry for param in self.get_params(ctx) if (entry := _entry(param, ctx))]
        parts += ["\n".join([_bold("Options:"), *entries]), _text(self.epilog or "")]
        formatter.write("\n\n".join(parts) + "\n")


def register(app: typer.Typer, command: Callable[..., None], panel: str) -> None:
    """Add a function to the program as a command, below a heading of `fdrd --help`."""
    text, examples = split_docstring(command)
    app.command(cls=HelpCommand, help=text, epilog=examples, rich_help_panel=panel)(command)


_OTHER_NAMES = {
    "columns": "map",
    "have_rights": "rights",
    "options": "method_option",
    "pull_request": "pr",
    "train": "train_option",
}
"""Names of options of the command line by the name of the argument in Python."""


def with_flags(message: str, params: Sequence[Any]) -> str:
    """Return a message with the options of a command in place of arguments, which are in backticks."""
    flags: dict[str, str] = {}
    for param in params:
        for flag in sorted(param.opts, key=len):
            is_option = flag.startswith("-") and not getattr(param, "hidden", False)
            text = flag if is_option else flag.lstrip("-").upper()
            flags[flag.lstrip("-").replace("-", "_")] = flags[str(param.name)] = text

    def flag_of(found: re.Match[str]) -> str:
        name = _OTHER_NAMES.get(found[1], found[1])
        return flags.get(found[1]) or flags.get(name) or found[0]

    return re.sub(r"`(\w+)`", flag_of, message)


def split_docstring(command: Callable[..., None]) -> tuple[str, str]:
    """Return the text of a docstring with one line per paragraph, and its examples, one per line."""
    text, _, examples = (inspect.getdoc(command) or "").partition("\n\nExamples:\n")
    lines = [line.strip() for line in examples.splitlines()]
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text.partition("\n\nArgs:")[0]), "\n".join(lines)


def _set_quiet(quiet: bool) -> None:
    err.quiet = quiet
    shown.hints = not quiet


def _set_verbose(verbose: bool) -> None:
    shown.tracebacks = verbose
    if verbose:
        logging.basicConfig(level=logging.INFO)


@cache
def _switches() -> list[Any]:
    """Return the options that every command has."""
    switch = partial(typer.Option, False, expose_value=False, rich_help_panel=_GENERAL)

    def no_command(
        quiet: bool = switch("--quiet", "-q", callback=_set_quiet),
        verbose: bool = switch("--verbose", "-v", callback=_set_verbose),
    ) -> None:
        """Hold the two options."""

    app = typer.Typer(add_completion=False)
    app.command()(no_command)
    return list(get_command(app).params)


def _usage(command: Any, ctx: Any) -> str:
    return _bold("Usage: ") + str(command.get_usage(ctx)).removeprefix("Usage: ")


def _panel(param: Any) -> str:
    if "--help" in param.opts:
        return _GENERAL
    default = _ARGUMENTS if param.param_type_name == "argument" else _OPTIONS
    return getattr(param, "rich_help_panel", None) or default


def _entry(param: Any, ctx: Any) -> str:
    """Return the names and the text of an argument or option; empty if it is hidden."""
    record = None if getattr(param, "hidden", False) else param.get_help_record(ctx)
    if record is None:
        return ""
    text = fill(record[1], initial_indent=" " * 10, subsequent_indent=" " * 10)
    return f"  {_bold(heading(param, record[0]))}\n{text}"


def heading(param: Any, typed: str) -> str:
    """Return the names of an argument or option, and what it takes in upper case or as choices.

    Args:
        param: argument or option.
        typed: its names and type as typer writes them.
    """
    choices = re.search(r"[<\[](\S+(?:\|\S+)+)[>\]]", typed)
    value = str(param.metavar or (choices[1] if choices else param.name.upper()))
    if param.param_type_name == "argument":
        return value
    # Of several long names the first is shown; the others are names of earlier versions.
    names = [name for name in param.opts if len(name) == 2]
    names += [name for name in param.opts if len(name) > 2][:1]
    switch = "/".join((", ".join(names), *param.secondary_opts[:1]))
    return switch if param.is_flag else f"{switch} {value}"


def _text(text: str) -> str:
    return "\n\n".join(fill(paragraph) for paragraph in text.split("\n\n"))


def _bold(text: str) -> str:
    """Return bold text; typer removes the codes where the output is not a terminal."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain else typer.style(text, bold=True)
