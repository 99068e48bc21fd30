"""The commands of `fdrd`, one file each: a command parses, calls one library function, and prints.

Results go to stdout, progress and errors to stderr. Slow imports belong inside the command.
"""

from importlib import import_module

import typer

from fdrd.commands.console import err, out
from fdrd.commands.help import HelpGroup, register

COMMANDS = {  # panels and commands, in the order of `fdrd --help`; a file is named after its function
    "Start": ("demo",),
    "Build a dataset": ("dataset.sample", "dataset.fetch", "dataset.caption", "dataset.build"),
    "Check, view and share a dataset": (
        "dataset.validate",
        "dataset.stats",
        "dataset.audit",
        "dataset.view",
        "dataset.push",
        "dataset.export",
    ),
    "Compare methods": (
        "benchmark.bench",
        "benchmark.run",
        "benchmark.report",
        "benchmark.compare",
        "benchmark.search",
        "benchmark.methods",
        "benchmark.backbones",
    ),
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
    for _command in _commands:
        _module = import_module(f"{__name__}.{_command}")
        register(app, getattr(_module, _command.rpartition(".")[2]), _panel)

__all__ = ["app", "err", "out"]
