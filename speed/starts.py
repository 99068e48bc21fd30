"""Time what a user waits for before anything happens: `--help` of each command, and mistakes, beside bare Python.

    python speed/starts.py [ROUNDS]

Each is a process of its own. It prints the median seconds by the clock, and processor seconds, which other work
disturbs less. `tests/fdrd/commands/test_mistakes.py` has the answers to mistakes.
"""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from statistics import median

from harness import describe_machine, run_python

from fdrd.commands import COMMANDS

PYTHON = {"python -c pass": ["-c", "pass"], "python -c 'import typer'": ["-c", "import typer"]}
MISTAKES = ("methods nope", "bench nope zero_shot", "run nowhere.toml")


def main(rounds: int = 5) -> None:
    """Print both times of each program, and the processor time as a multiple of that of bare Python."""
    names = [name.split(".")[-1] for group in COMMANDS.values() for name in group.split()]
    lines = ["--version", "--help", *(f"{name} --help" for name in names), *MISTAKES]
    programs = PYTHON | {f"fdrd {line}": ["-m", "fdrd", *line.split()] for line in lines}
    print(f"{describe_machine()}, {rounds} rounds; clock and processor seconds")
    taken = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for name, arguments in rounds * [*programs.items()]:
            done = run_python(arguments, folder, folder, check=False)
            taken[name].append((done.seconds, done.cpu_seconds))
    bare = median(cpu for _, cpu in taken["python -c pass"])
    for name, times in taken.items():
        clock, cpu = (median(each) for each in zip(*times, strict=True))
        print(f"{name:40} {clock:6.2f} {cpu:6.2f}  {cpu / bare:5.1f} times")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
