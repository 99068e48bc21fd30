"""What the benchmarks share: processes measured from outside, and the memory of this one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """One finished process and its children: wall and processor seconds, peak memory (PSS) and output."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    stdout: str


def describe_machine() -> str:
    """Return the number of cores and the current load."""
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def run_python(
    arguments: Sequence[str], cache: str, folder: str | None = None, check: bool = True
) -> Run:
    """Run Python in a folder, offline, with empty caches in `cache`, and measure it. Peak memory needs Linux.

    With `check`, an exit code above 0 ends this script.
    """
    code = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": code, "HF_HOME": cache, "FDRD_CACHE": cache}
    before, start, peak = os.times(), time.perf_counter(), 0
    with subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env={**environment, "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=None if check else subprocess.DEVNULL,
        text=True,
    ) as process:

        def watch() -> None:
            nonlocal peak
            while process.poll() is None:
                peak = max(peak, proportional_bytes(process.pid))
                time.sleep(0.5)

        threading.Thread(target=watch, daemon=True).start()
        stdout, _ = process.communicate()
    seconds, after = time.perf_counter() - start, os.times()
    if check and process.returncode:
        sys.exit(f"{' '.join(arguments)} failed with exit code {process.returncode}")
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    return Run(seconds, used, peak, stdout)


def proportional_bytes(pid: int) -> int:
    """Return the proportional set size of a process and all its descendants."""
    total, pids = 0, [pid]
    for each in pids:
        try:
            for listed in Path(f"/proc/{each}/task").glob("*/children"):
                pids += map(int, listed.read_text().split())
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has just ended
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
    return total


def own_bytes(field: str) -> int:
    """Return a memory field of this process, e.g., `VmRSS` or `VmHWM`."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split(f"{field}:")[1].split()[0]) * 1024
