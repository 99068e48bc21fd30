"""The commands of `fdrd`, one file each: a command parses, calls one library function, and prints.

Results go to stdout, progress and errors to stderr. Slow imports belong inside the command.
"""

from importlib import import_module

from fdrd.commands.console import app, err, out
from fdrd.commands.every_command import help_text, with_verbosity

COMMANDS = {  # panels and commands, in the order of `fdrd --help`
    "Start": ("demo",),
    "Build a dataset": (
        "dataset.sample",
        "dataset.fetch",
        "dataset.caption",
        "dataset.captioners",
        "dataset.build",
        "dataset.reasons",
    ),
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
        "benchmark.reproduce",
        "benchmark.report",
        "benchmark.compare",
        "benchmark.search",
        "benchmark.composition",
        "benchmark.methods",
    ),
    "Backbones": ("benchmark.backbones", "benchmark.features", "benchmark.convert"),
}

for _panel, _names in COMMANDS.items():
    for _name in _names:
        import_module(f"{__name__}.{_name}")
        _command = app.registered_commands[-1]
        assert _command.callback is not None
        _command.rich_help_panel, _command.help = _panel, help_text(_command.callback)
        _command.callback = with_verbosity(_command.callback)

__all__ = ["app", "err", "out"]
