"""Measure time and memory of `fdrd build` as sources grow, and of a second build without changes.

    python speed/scale.py SOURCE...                  # e.g., folders that `fdrd sample` drew, small ones first
    python speed/scale.py SOURCE... --svg FOLDER     # also draws time and memory against size

Memory is the proportional set size, summed over all processes of the build and sampled twice a second (Linux).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

from harness import describe_machine, run_python

from benchmark.reporting.plots import Plot, Series, write_plot


def main() -> None:
    """Build each source twice and print one line for each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--svg", type=Path)
    given = parser.parse_args()
    measured = []
    print(describe_machine())
    print("   pairs shards    build  ms/pair      CPU      PSS  rebuild")
    for source in given.sources:
        with tempfile.TemporaryDirectory(dir=os.environ.get("FDRD_SPEED_DIR")) as folder:
            command = [*"-m fdrd build --json --source".split(), source, "--out", f"{folder}/out"]
            first, second = (run_python(command, f"{folder}/cache") for _ in range(2))
            manifest = json.loads(first.stdout)
            assert json.loads(second.stdout)["nothing_to_do"]
            pairs = manifest["records"]["kept"]
            print(
                f"{pairs:8,} {len(manifest['shards']):6} {first.seconds:7.1f}s "
                f"{1e3 * first.seconds / pairs:8.3f} {first.cpu_seconds:7.1f}s "
                f"{first.peak_bytes / 2**20:5.0f}MiB {second.seconds:6.1f}s  "
                f"{second.seconds / first.seconds:.1%}",
                flush=True,
            )
            measured.append((pairs, first.seconds, first.peak_bytes / 2**20))
    if given.svg:
        draw(measured, given.svg)


def draw(measured: list[tuple[int, float, float]], folder: Path) -> None:
    """Write `build-time.svg` and `build-memory.svg` for builds of (pairs, seconds, MiB)."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs, seconds, mebibytes = zip(*measured, strict=True)
    for name, values, unit in (("time", seconds, "seconds"), ("memory", mebibytes, "MiB")):
        title = f"{name.capitalize()} of fdrd build"
        plot = Plot(f"build-{name}", title, pairs, [Series("fdrd build", values, 1)], "pairs", unit)
        write_plot(plot, folder / f"{plot.name}.svg")


if __name__ == "__main__":
    main()
