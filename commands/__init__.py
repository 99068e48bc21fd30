"""The commands of `fdrd`, one file each: a command parses, calls one library function and prints.

Results go to stdout, progress and errors to stderr. What is slow to import is imported inside of the command.
"""

from importlib import import_module

from commands.console import app, err, out

COMMANDS = (  # in the order of `fdrd --help`
    "demo",
    "sample",
    "caption",
    "captioners",
    "build",
    "merge",
    "validate",
    "stats",
    "audit",
    "push",
    "export",
    "bench",
    "report",
    "compare",
    "search",
    "methods",
    "convert",
)

for _name in COMMANDS:
    import_module(f"commands.{_name}")

__all__ = ["app", "err", "out"]
