"""Images per second of `fdrd build`, beside `datasets` imagefolder and beside nothing but decoding, in turn.

    python speed/build.py SOURCE [ROUNDS]      # a folder that `fdrd build` reads, with images in folders below

Each is a process of its own, started anew with empty caches for every round, its start included. The decoder is two
processes of Pillow that each load half of the images and do nothing else. imagefolder does not decode either:
it copies bytes into Arrow, and `save_to_disk` writes them again; the build decodes, digests, looks for duplicates,
finds attributes, draws negatives and writes the card. The best round counts, as other work can only slow one down.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

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
from fdrd.pipeline.builder import build
if __name__ == "__main__":
    print(build(sys.argv[1], sys.argv[2] + "/built", workers=2).manifest["records"]["kept"])
"""
WAYS = {"fdrd build": BUILD, "imagefolder, save_to_disk": IMAGEFOLDER, "decode only": DECODE}


def run(code: str, source: str) -> tuple[int, float, float]:
    """Images, seconds by the clock and seconds of processor time of a program in its own process."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("FDRD_SPEED_DIR")) as folder:
        file = f"{folder}/way.py"
        with open(file, "w") as text:  # noqa: PTH123 - a file, so that spawned processes find it
            text.write(code)
        environment = {**os.environ, "HF_HOME": folder, "FDRD_CACHE": folder, "HF_HUB_OFFLINE": "1"}
        before, start = os.times(), time.perf_counter()
        done = subprocess.run(
            [sys.executable, file, source, folder],
            env=environment, stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        seconds, after = time.perf_counter() - start, os.times()
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    return int(done.stdout.split()[-1]), seconds, used


def main() -> None:
    """Prints a line for each way, and the two ratios."""
    source = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, best of {rounds} rounds")
    best: dict[str, tuple[float, float]] = {}
    for _ in range(rounds):
        for way, code in WAYS.items():
            images, seconds, used = run(code, source)
            clock, cpu = best.get(way, (0.0, 0.0))
            best[way] = (max(clock, images / seconds), max(cpu, images / used))
    print(f"{'':26} {'images/s':>9} {'images/s of processor time':>27}")
    for way, (clock, cpu) in best.items():
        print(f"{way:26} {clock:9,.0f} {cpu:27,.0f}")
    build, folder, decode = (best[way] for way in WAYS)
    for what, ratio in (
        ("the build's speed over imagefolder's, aim 2 or more", [b / f for b, f in zip(build, folder, strict=True)]),
        ("the build's time over the decoder's, aim 2 or less", [d / b for b, d in zip(build, decode, strict=True)]),
    ):  # fmt: skip
        print(f"{what}: {ratio[0]:.2f} by the clock, {ratio[1]:.2f} by processor time")


if __name__ == "__main__":
    main()
