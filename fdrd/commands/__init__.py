"""The commands of `fdrd`, one file each: a command parses, calls one library function, and prints.

Results go to stdout, progress and errors to stderr. Slow imports belong inside the command.
"""

from importlib import import_module

from fdrd.commands.console import app, err, out

COMMANDS = (  # in the order of `fdrd --help`
    "demo",
    "dataset.sample",
    "dataset.fetch",
    "dataset.caption",
    "dataset.captioners",
    "dataset.build",
    "dataset.merge",
    "dataset.validate",
    "dataset.stats",
    "dataset.audit",
    "dataset.view",
    "dataset.push",
    "dataset.export",
    "benchmark.bench",
    "benchmark.run",
    "benchmark.report",
    "benchmark.compare",
    "benchmark.search",
    "benchmark.methods",
    "benchmark.backbones",
    "benchmark.features",
    "benchmark.convert",
)

for _name in COMMANDS:
    import_module(f"{__name__}.{_name}")

__all__ = ["app", "err", "out"]
