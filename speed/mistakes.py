"""Make 60 natural mistakes, and print the answer and the time of each.

    python speed/mistakes.py [PATTERN]

Each is a process of its own, in a folder with a source, a dataset and results. An answer has one line and the exit
code 2, and takes at most two processor seconds; the others are marked. PATTERN selects mistakes.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import describe_machine

import fdrd

LIMIT = 2.0
"""Processor seconds that an answer may take."""

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
        start(words, home).check_returncode()
    (home / "raw" / "a.txt").write_text("text")
    (home / "bad.toml").write_text(
        'data = "data/fdrd"\nmethods = [{ method = "coop", options = { nctx = 3 } }]\n'
    )


def answered(line: str, home: str) -> bool:
    """Make a mistake, print its answer, and return whether it is one line in time."""
    begun, before = time.perf_counter(), os.times()
    done = start(line, Path(home))
    clock, after = time.perf_counter() - begun, os.times()
    used = after.children_user + after.children_system
    seconds = used - before.children_user - before.children_system
    lines = [each for each in done.stderr.splitlines() if not each.startswith("Dataset: ")]
    good = done.returncode == 2 and len(lines) == 1 and seconds <= LIMIT
    print(f"{' ' if good else '!'} {done.returncode} {clock:5.2f} {seconds:5.2f}  {line}")
    for each in lines:
        print(f"{'':13}{each[:160]}")
    return good


def start(line: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, offline, with its caches there."""
    code, cache = str(Path(fdrd.__file__).parents[1]), str(home / "cache")
    environment = {**os.environ, "PYTHONPATH": code, "HF_HOME": cache, "FDRD_CACHE": cache}
    return subprocess.run(
        [sys.executable, "-m", "fdrd", *shlex.split(line)],
        cwd=home, env={**environment, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


if __name__ == "__main__":
    main()
