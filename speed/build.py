"""Compare `fdrd build` with `datasets` imagefolder and with bare decoding, in images per second.

    python speed/build.py SOURCE [ROUNDS]      # a folder that `fdrd build` reads, with images in subfolders

Each is a separate process with empty caches, start-up included. The decoder is two Pillow processes. imagefolder
does not decode: it copies bytes into Arrow, and `save_to_disk` writes them again. The best round counts.
"""

from __future__ import annotations

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


def main() -> None:
    """Print images per second of each program, and the two ratios."""
    source, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3
    print(f"{describe_machine()}, best of {rounds} rounds")
    best = {name: [0.0, 0.0] for name in PROGRAMS}
    for _ in range(rounds):
        for name, code in PROGRAMS.items():
            with tempfile.TemporaryDirectory(dir=os.environ.get("FDRD_SPEED_DIR")) as folder:
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


if __name__ == "__main__":
    main()
