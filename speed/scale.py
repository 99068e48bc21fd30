"""Time and memory of `fdrd build` as sources grow, and of a second build with nothing changed.

    python speed/scale.py SOURCE...      # folders that `fdrd sample` drew, small ones first

Memory is the proportional set size, summed over all processes of the build and looked at twice a second: what
would be free without it. It needs /proc, so Linux.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path


def children(pid: int) -> list[int]:
    """A process and all that it started."""
    found = [pid]
    for parent in found:
        for listed in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, listed.read_text().split())
    return found


def pss(pid: int) -> int:
    """Bytes that a process and all that it started have for themselves, with their share of what is common."""
    total = 0
    for each in children(pid):
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # ended just now
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
    return total


def run(*options: str) -> tuple[dict[str, object], float, int, float]:
    """What a build prints, its seconds, the most memory that it had, and its seconds of processor time."""
    command = [sys.executable, "-m", "fdrd", "build", "--json", *options]
    before, start = os.times(), time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        most = 0

        def watch() -> None:
            nonlocal most
            while process.poll() is None:
                try:
                    most = max(most, pss(process.pid))
                except OSError:
                    continue
                time.sleep(0.5)

        watching = threading.Thread(target=watch)
        watching.start()
        printed = process.stdout.read() if process.stdout else b""
        watching.join()
    seconds, after = time.perf_counter() - start, os.times()
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    return json.loads(printed), seconds, most, used


def main() -> None:
    """Builds each source twice."""
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(
        f"{'pairs':>8} {'shards':>6} {'build':>8} {'ms/pair':>8} {'CPU':>8} {'PSS':>8} {'again':>7}"
    )
    for source in sys.argv[1:]:
        with tempfile.TemporaryDirectory(dir=os.environ.get("FDRD_SPEED_DIR")) as folder:
            os.environ["HF_HOME"] = os.environ["FDRD_CACHE"] = f"{folder}/cache"
            out = ("--source", source, "--out", f"{folder}/out")
            manifest, seconds, most, used = run(*out)
            again, seconds_again, _, _ = run(*out)
            assert again["nothing_to_do"]
            pairs = manifest["records"]["kept"]  # type: ignore[index]
            shards = len(manifest["shards"])  # type: ignore[arg-type]
            print(
                f"{pairs:8,} {shards:6} {seconds:7.1f}s {1e3 * seconds / pairs:8.3f} {used:7.1f}s "
                f"{most / 2**20:5.0f}MiB {seconds_again:6.1f}s  {seconds_again / seconds:.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
