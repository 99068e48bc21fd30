"""The commands of `fdrd`: each is a function that parses, calls one library function, and prints.

Results go to stdout, progress and errors to stderr. Slow imports belong inside the command.
"""

from importlib import import_module

import typer

from fdrd.commands.console import err, out
from fdrd.commands.help import HelpGroup, register

COMMANDS = {  # panels and commands, in the order of `fdrd --help`; `report.compare` is a function of report.py
    "Start": "demo",
    "Build a dataset": "sources.sample sources.fetch caption build",
    "Check, view and share a dataset": "stats.validate stats audit view push export",
    "Compare methods": "bench bench.run report report.compare search methods methods.backbones",
}

app = typer.Typer(
    name="fdrd",
    cls=HelpGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start here:  fdrd demo\n\n"
    "Exit codes: 0 done; 1 a check failed, e.g. in `fdrd validate`; 2 a mistake in the command or its input; "
    "130 stopped by Ctrl-C.",
)

for _panel, _commands in COMMANDS.items():
    for _command in _commands.split():
        _file, _, _function = _command.rpartition(".")
        register(app, getattr(import_module(f"{__name__}.{_file or _function}"), _function), _panel)

__all__ = ["app", "err", "out"]
