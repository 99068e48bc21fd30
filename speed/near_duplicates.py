"""How fast images that look alike are found, and how many of them.

    python speed/near_duplicates.py                # the search alone, beside comparing all pairs
    python speed/near_duplicates.py FOLDER         # and made copies of a sample of the JPEGs below a folder

The search: random codes of 64 bits, half of them near another one. Comparing all pairs is timed on a part
and multiplied, as it grows with the square. The copies: each image of a sample is recompressed,
resized or cut; found is a copy that is linked with its original when all originals of the folder and
all copies are searched at once, and false is a link of a copy with an image that its original is not linked with.
"""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from fdrd.curation.near_duplicates import RADIUS, NearImages, find_near
from fdrd.images.check import examine_bytes
from fdrd.images.near_search import pairs_within

CODES = 100_000
PART = 4_000
SAMPLE = 300


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    """An image, encoded."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def cut(image: Image.Image, left: float, top: float, right: float, bottom: float) -> bytes:
    """An image without these shares of its sides."""
    width, height = image.size
    box = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
    return jpeg(image.crop((round(box[0]), round(box[1]), round(box[2]), round(box[3]))))


def scaled(image: Image.Image, x: float, y: float) -> bytes:
    """An image of another size."""
    return jpeg(image.resize((max(1, round(image.width * x)), max(1, round(image.height * y)))))


CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "copied into a JPEG of quality 75": lambda image: jpeg(image, 75),
    "of quality 30": lambda image: jpeg(image, 30),
    "half as large": lambda image: scaled(image, 0.5, 0.5),
    "1.5 times as large": lambda image: scaled(image, 1.5, 1.5),
    "a tenth flatter": lambda image: scaled(image, 1, 0.9),
    "2 % cut off all sides": lambda image: cut(image, 0.02, 0.02, 0.02, 0.02),
    "3 % cut off all sides": lambda image: cut(image, 0.03, 0.03, 0.03, 0.03),
    "5 % cut off all sides": lambda image: cut(image, 0.05, 0.05, 0.05, 0.05),
    "5 % cut off the left": lambda image: cut(image, 0.05, 0, 0, 0),
    "10 % cut off all sides": lambda image: cut(image, 0.1, 0.1, 0.1, 0.1),
}


def main(arguments: list[str]) -> None:
    """Print what was measured."""
    search()
    if arguments:
        made_copies(Path(arguments[0]))


def search() -> None:
    """The search beside comparing all pairs."""
    random = np.random.default_rng(0)
    codes = random.integers(0, 2**64, CODES, dtype=np.uint64)
    flips = np.uint64(1) << random.integers(0, 64, (RADIUS, CODES // 2), dtype=np.uint64)
    codes[CODES // 2 :] = codes[: CODES // 2] ^ np.bitwise_or.reduce(flips)
    start = time.perf_counter()
    found = {
        pair
        for first, second in pairs_within(codes, RADIUS)
        for pair in zip(first.tolist(), second.tolist(), strict=True)
    }
    index = time.perf_counter() - start
    start = time.perf_counter()
    for code in codes[:PART]:
        np.flatnonzero(np.bitwise_count(codes ^ code) <= RADIUS)
    every = (time.perf_counter() - start) * CODES / PART / 2
    print(f"{CODES:,} codes, radius {RADIUS}, {os.cpu_count()} cores seen, one used")
    print(f"  index               {index:8.1f} s, {len(found):,} pairs")
    print(f"  all pairs           {every:8.1f} s, {every / index:.0f} times as long")


def made_copies(folder: Path) -> None:
    """Recall and precision on made copies, and what is near in the folder as it is."""
    files = sorted([*folder.rglob("*.jpg"), *folder.rglob("*.jpeg")])
    if not files:
        raise SystemExit(f"{folder} holds no .jpg or .jpeg")
    looks = {}
    start = time.perf_counter()
    for file in files:
        found = examine_bytes(file.read_bytes(), 50_000_000)
        if not found.reason:
            looks[str(file.relative_to(folder))] = found.look
    read = time.perf_counter() - start
    start = time.perf_counter()
    own = find_near(looks)
    print(f"{len(looks):,} pictures of {folder}: decoded in {read:.1f} s")
    print(f"  {len(own.look)} look like another one, found in {time.perf_counter() - start:.1f} s")
    print(
        f"{'copies of a sample':<34}{'made':>6}{'found':>8}{'recall':>8}{'false':>7}{'precision':>11}"
    )
    sample = list(looks)[:: max(1, len(looks) // SAMPLE)]
    for name, change in CHANGES.items():
        copies = {}
        for original in sample:
            with Image.open(folder / original) as image:
                changed = change(image.convert("RGB"))
            copies[f"\0{original}"] = examine_bytes(changed, 50_000_000).look
        near = find_near(looks | copies)
        right = wrong = 0
        for copy in copies:
            linked = _linked(near, copy)
            family = {copy[1:], *_linked(near, copy[1:])}
            right += copy[1:] in linked
            wrong += len({other for other in linked if other[0] != "\0"} - family)
        share = right / (right + wrong) if right + wrong else 0
        print(
            f"{name:<34}{len(copies):>6}{right:>8}{right / len(copies):>8.3f}{wrong:>7}{share:>11.3f}"
        )


def _linked(near: NearImages, name: str) -> set[str]:
    """The images that look like this one."""
    if name not in near.look:
        return set()
    wanted = {*near.alike[near.look[name]]}
    return {other for other, number in near.look.items() if number in wanted} - {name}


if __name__ == "__main__":
    main(sys.argv[1:])
