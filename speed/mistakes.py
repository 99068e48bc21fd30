"""Make 60 natural mistakes, and print the answer and the time of each; or time the start of every command.

    python speed/mistakes.py [PATTERN]
    python speed/mistakes.py --starts [ROUNDS]

Each is a process of its own, in a folder with a source, a dataset and results. An answer has one line and the exit
code 2, and takes at most two processor seconds; the others are marked. PATTERN selects mistakes.

`--starts` times what a user waits for before anything happens: `--help` of each command, beside bare Python. It prints
the median seconds by the clock, and processor seconds, which other work disturbs less.
"""

from __future__ import annotations

import re
import shlex
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median

from harness import Run, describe_machine, run_python

from fdrd.commands import COMMANDS

LIMIT = 2.0
"""Processor seconds that an answer may take."""

PYTHON = {"python -c pass": ["-c", "pass"], "python -c 'import typer'": ["-c", "import typer"]}
MISTAKES = """
bench
bench nope -m zero_shot
bench raw -m zero_shot
bench runs -m zero_shot
bench zeroshot
bench clip
bench data/fdrd
bench data/fdrd -m clip
bench data/fdrd -m co0p
bench data/fdrd -m nope --preset paper
bench data/fdrd zero_shot data/other
bench data/fdrd zero_shot --all
bench data/fdrd coop -M nctx=3
bench data/fdrd coop -M n_ctx=many
bench data/fdrd coop -M n_ctx
bench data/fdrd coop -M loss=both
bench data/fdrd coop -M vpt.depth=2
bench data/fdrd dcar -M depth=0 -M adapter=no
bench data/fdrd dcar -M beta=-1
bench data/fdrd coop -T rate=0.1
bench data/fdrd coop -T epochs=0
bench data/fdrd coop -T epochs=2 -T steps=9
bench data/fdrd coop -T optimizer=lion
bench data/fdrd coop --lr fast
bench data/fdrd zero_shot --split dev
bench data/fdrd zero_shot --domain bird
bench data/fdrd coop --train-domain bird
bench data/fdrd zero_shot --gallery some
bench data/fdrd zero_shot --gallery 4000
bench data/fdrd zero_shot --gallery 1
bench data/fdrd zero_shot --device gpu
bench data/fdrd zero_shot --device cuda
bench data/fdrd zero_shot --device cuda:x
bench data/fdrd zero_shot --backbone embeded
bench data/fdrd zero_shot --backbone ./nowhere
bench data/fdrd zero_shot --backbone none.py:load
bench data/fdrd zero_shot --backbone org/none
bench data/fdrd zero_shot --backbone features:none
bench data/fdrd zero_shot -o raw/a.txt
bench data/fdrd zero_shot -o /proc/runs
bench data/fdrd --checkpoint none.safetensors
bench data/fdrd zero_shot --categories none.txt
bench data/fdrd zero_shot --plugin none
run nowhere.toml
run bad.toml
search "a bird" data/fdrd
search data/fdrd bird --device gpu
search data/fdrd bird --method nope
search data/fdrd bird.png
report data/fdrd
report nowhere
compare data/fdrd
compare nowhere
methods nope
build nowhere
build raw -o one --map image=x
build raw -o one --map photo=x
build raw -o one --layout folders
validate raw
stats nope
export data/fdrd raw --to features
export out data/fdrd --to jsonl
export data/fdrd out --to fifty
view nope
"""


def main() -> None:
    """Print code, seconds by the clock and of the processor, mistake and answer of each."""
    pattern = sys.argv[1] if len(sys.argv) > 1 else ""
    chosen = [line for line in MISTAKES.strip().splitlines() if re.search(pattern, line)]
    print(f"{describe_machine()}; {len(chosen)} mistakes")
    with tempfile.TemporaryDirectory() as home:
        prepare(Path(home))
        wrong = sum(not answered(line, home) for line in chosen)
    print(f"{len(chosen) - wrong} answered in one line within {LIMIT:g} s, {wrong} not")


def prepare(home: Path) -> None:
    """Write a source, a dataset, a folder of results and an experiment with a mistake."""
    for words in (
        "sample raw --pairs 60 --categories 4",
        "build raw --workers 1 --backbone embedded",
        "bench data/fdrd random --no-hard-negatives",
    ):
        fdrd(words, str(home), check=True)
    (home / "raw" / "a.txt").write_text("text")
    (home / "bad.toml").write_text(
        'data = "data/fdrd"\nmethods = [{ method = "coop", options = { nctx = 3 } }]\n'
    )


def answered(line: str, home: str) -> bool:
    """Make a mistake, print its answer, and return whether it is one line in time."""
    done = fdrd(line, home)
    lines = [each for each in done.stderr.splitlines() if not each.startswith("Dataset: ")]
    good = done.code == 2 and len(lines) == 1 and done.cpu_seconds <= LIMIT
    times = f"{done.seconds:5.2f} {done.cpu_seconds:5.2f}"
    print(f"{' ' if good else '!'} {done.code} {times}  {line}")
    for each in lines:
        print(f"{'':13}{each[:160]}")
    return good


def fdrd(line: str, home: str, check: bool = False) -> Run:
    """Run a command in a folder, offline, with its caches there."""
    return run_python(["-m", "fdrd", *shlex.split(line)], f"{home}/cache", home, check)


def starts(rounds: int = 5) -> None:
    """Print both times of each program, and the processor time as a multiple of that of bare Python."""
    names = [name.split(".")[-1] for group in COMMANDS.values() for name in group.split()]
    lines = ["--version", "--help", *(f"{name} --help" for name in names)]
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
    if sys.argv[1:2] == ["--starts"]:
        starts(*map(int, sys.argv[2:]))
    else:
        main()
