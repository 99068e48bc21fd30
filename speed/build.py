"""Compare `fdrd build` with `datasets` imagefolder and with bare decoding, or measure it as sources grow.

    python speed/build.py SOURCE [ROUNDS]      # a folder that `fdrd build` reads, with images in subfolders
    python speed/build.py --scale SOURCE...    # e.g., folders that `fdrd sample` drew, small ones first

Each is a separate process with empty caches, start-up included. The decoder is two Pillow processes. imagefolder
does not decode: it copies bytes into Arrow, and `save_to_disk` writes them again. The best round counts.

`--scale` prints time and memory of a build, and of a second one without changes. Memory is the proportional set size,
summed over all processes of the build and sampled twice a second (Linux).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from harness import describe_machine, run_python

DECODE = """
import sys
from multiprocessing import get_context
from pathlib import Path
from PIL import Image

def decode(paths):
    for path in paths:
        with Image.open(path) as image:
            image.load()
    return len(paths)

if __name__ == "__main__":
    paths = sorted(p for p in Path(sys.argv[1]).rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    with get_context("fork").Pool(2) as pool:
        print(sum(pool.map(decode, [paths[::2], paths[1::2]], chunksize=1)))
"""
IMAGEFOLDER = """
import os, sys
from pathlib import Path
from datasets import load_dataset
images = [str(p) for p in Path(sys.argv[1]).rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png")]
dataset = load_dataset("imagefolder", data_dir=os.path.commonpath(images), split="train")
dataset.save_to_disk(sys.argv[2] + "/saved")
print(len(dataset))
"""
BUILD = """
import sys
import fdrd
print(fdrd.build(sys.argv[1], sys.argv[2] + "/built", workers=2).manifest.records.kept)
"""
PROGRAMS = {"fdrd build": BUILD, "imagefolder, save_to_disk": IMAGEFOLDER, "decode only": DECODE}


def scratch() -> tempfile.TemporaryDirectory[str]:
    """Return a folder that is deleted afterwards."""
    return tempfile.TemporaryDirectory(dir=os.environ.get("FDRD_SPEED_DIR"))


def compare(source: str, rounds: int = 3) -> None:
    """Print images per second of each program, and the two ratios."""
    print(f"best of {rounds} rounds")
    best = {name: [0.0, 0.0] for name in PROGRAMS}
    for _ in range(rounds):
        for name, code in PROGRAMS.items():
            with scratch() as folder:
                Path(folder, "program.py").write_text(code)
                run = run_python([f"{folder}/program.py", source, folder], folder)
            images = int(run.stdout.split()[-1])
            speeds = (images / run.seconds, images / run.cpu_seconds)
            best[name] = [max(pair) for pair in zip(best[name], speeds, strict=True)]
    print(f"{'':26} {'images/s':>9} {'images/s of processor time':>27}")
    for name, (wall, cpu) in best.items():
        print(f"{name:26} {wall:9,.0f} {cpu:27,.0f}")
    build, folder_speed, decode = best.values()
    for index, clock in enumerate(("wall time", "processor time")):
        print(
            f"{clock}: {build[index] / folder_speed[index]:.2f} times the speed of imagefolder, "
            f"{decode[index] / build[index]:.2f} times the time of the decoder"
        )


def scale(sources: list[str]) -> None:
    """Build each source twice and print one line for each."""
    print("   pairs shards    build  ms/pair      CPU      PSS  rebuild")
    for source in sources:
        with scratch() as folder:
            command = [*"-m fdrd build --json --source".split(), source, "--out", f"{folder}/out"]
            first, second = (run_python(command, f"{folder}/cache") for _ in range(2))
        manifest = json.loads(first.stdout)
        assert json.loads(second.stdout)["nothing_to_do"]
        pairs, seconds = manifest["records"]["kept"], first.seconds
        size = f"{pairs:8,} {len(manifest['shards']):6}"
        cost = f"{first.cpu_seconds:7.1f}s {first.peak_bytes / 2**20:5.0f}MiB"
        again = f"{second.seconds:6.1f}s  {second.seconds / seconds:.1%}"
        print(f"{size} {seconds:7.1f}s {1e3 * seconds / pairs:8.3f} {cost} {again}", flush=True)


if __name__ == "__main__":
    print(describe_machine())
    if sys.argv[1] == "--scale":
        scale(sys.argv[2:])
    else:
        compare(sys.argv[1], *map(int, sys.argv[2:]))
