"""Measure time and memory of `fdrd build` as sources grow, and of a second build without changes.

    python speed/scale.py SOURCE...      # e.g., folders that `fdrd sample` drew, small ones first

Memory is the proportional set size, summed over all processes of the build and sampled twice a second (Linux).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile

from harness import describe_machine, run_python


def main() -> None:
    """Build each source twice and print one line for each."""
    print(describe_machine())
    print("   pairs shards    build  ms/pair      CPU      PSS  rebuild")
    for source in sys.argv[1:]:
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


if __name__ == "__main__":
    main()
