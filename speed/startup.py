"""Time the start of every command and of bare Python: what a user waits for before anything happens.

    python speed/startup.py [ROUNDS]

Each is a process of its own: `--help` of each command, and mistakes that must be found before anything slow is
imported. Printed are the median seconds by the clock, and processor seconds, which other work disturbs less.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

from harness import describe_machine

import fdrd
from fdrd.commands import COMMANDS

PYTHON = {"python -c pass": ["-c", "pass"], "python -c 'import typer'": ["-c", "import typer"]}
MISTAKES = """build nowhere
validate nowhere
bench nowhere --method zero_shot
bench --method nope
report nowhere
compare nowhere
run nowhere.toml""".splitlines()


def main() -> None:
    """Print both times of each program, and the processor time as a multiple of that of bare Python."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    names = [name.split(".")[-1] for group in COMMANDS.values() for name in group]
    lines = ["--version", "--help", *(f"{name} --help" for name in names), *MISTAKES]
    programs = PYTHON | {f"fdrd {line}": ["-m", "fdrd", *line.split()] for line in lines}
    print(f"{describe_machine()}, {rounds} rounds; clock and processor seconds")
    taken = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for name, arguments in programs.items():
                taken[name].append(start(arguments, folder))
    bare = median(cpu for _, cpu in taken["python -c pass"])
    for name, times in taken.items():
        clock, cpu = (median(each) for each in zip(*times, strict=True))
        print(f"{name:40} {clock:6.2f} {cpu:6.2f}  {cpu / bare:5.1f} times")


def start(arguments: list[str], folder: str) -> tuple[float, float]:
    """Return the seconds by the clock and of the processor that a Python program takes."""
    code = str(Path(fdrd.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": code, "HF_HOME": folder, "FDRD_CACHE": folder}
    before, begun = os.times(), time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, check=False
    )
    clock, after = time.perf_counter() - begun, os.times()
    used = after.children_user + after.children_system
    return clock, used - before.children_user - before.children_system


if __name__ == "__main__":
    main()
