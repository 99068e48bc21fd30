"""Measure the search for near duplicates: its speed, and its recall and precision on altered copies.

    python speed/near_duplicates.py                # the search alone, compared with all pairs
    python speed/near_duplicates.py FOLDER         # and altered copies of a sample of the JPEGs in a folder

Codes are random 64-bit numbers, half of them near another one. Comparing all pairs is timed on a part and
extrapolated quadratically. A copy counts as found if it is linked with its original when all originals and all copies
are searched at once. A link is false if it leads to an image that its original is not linked with.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from harness import describe_machine
from PIL import Image

from fdrd.curation.near_duplicates import RADIUS, NearImages, find_near_images
from fdrd.images.check import check_image_bytes
from fdrd.images.near_search import pairs_within

CODES, PART, SAMPLE, MAX_PIXELS = 100_000, 4_000, 300, 50_000_000


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    """Encode an image."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def cropped(image: Image.Image, left: float, top: float, right: float, bottom: float) -> bytes:
    """Cut these shares off the sides."""
    width, height = image.size
    box = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
    return jpeg(image.crop((round(box[0]), round(box[1]), round(box[2]), round(box[3]))))


def scaled(image: Image.Image, x: float, y: float) -> bytes:
    """Resize an image."""
    return jpeg(image.resize((max(1, round(image.width * x)), max(1, round(image.height * y)))))


CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG of quality 75": lambda image: jpeg(image, 75),
    "JPEG of quality 30": lambda image: jpeg(image, 30),
    "half as large": lambda image: scaled(image, 0.5, 0.5),
    "1.5 times as large": lambda image: scaled(image, 1.5, 1.5),
    "a tenth flatter": lambda image: scaled(image, 1, 0.9),
    "2 % cut off all sides": lambda image: cropped(image, 0.02, 0.02, 0.02, 0.02),
    "3 % cut off all sides": lambda image: cropped(image, 0.03, 0.03, 0.03, 0.03),
    "5 % cut off all sides": lambda image: cropped(image, 0.05, 0.05, 0.05, 0.05),
    "5 % cut off the left": lambda image: cropped(image, 0.05, 0, 0, 0),
    "10 % cut off all sides": lambda image: cropped(image, 0.1, 0.1, 0.1, 0.1),
}


def search() -> None:
    """Time the index and the comparison of all pairs."""
    random = np.random.default_rng(0)
    codes = random.integers(0, 2**64, CODES, dtype=np.uint64)
    flips = np.uint64(1) << random.integers(0, 64, (RADIUS, CODES // 2), dtype=np.uint64)
    codes[CODES // 2 :] = codes[: CODES // 2] ^ np.bitwise_or.reduce(flips)
    start = time.perf_counter()
    found = sum(len(first) for first, _ in pairs_within(codes, RADIUS))
    index = time.perf_counter() - start
    start = time.perf_counter()
    for code in codes[:PART]:
        np.flatnonzero(np.bitwise_count(codes ^ code) <= RADIUS)
    every = (time.perf_counter() - start) * CODES / PART / 2
    print(f"{describe_machine()}; {CODES:,} codes, radius {RADIUS}, one process")
    print(
        f"index {index:.1f} s, {found:,} pairs; all pairs {every:.1f} s, {every / index:.0f} times"
    )


def altered_copies(folder: Path) -> None:
    """Print recall and precision for each kind of change."""
    files = sorted([*folder.rglob("*.jpg"), *folder.rglob("*.jpeg")])
    if not files:
        sys.exit(f"{folder} contains no .jpg or .jpeg files")
    checks = {
        str(file.relative_to(folder)): check_image_bytes(file.read_bytes(), MAX_PIXELS)
        for file in files
    }
    originals = {name: check.features for name, check in checks.items() if not check.reason}
    start = time.perf_counter()
    near = find_near_images(originals)
    print(
        f"{len(originals):,} images, {len(near.node)} with a near duplicate: {time.perf_counter() - start:.1f} s"
    )
    print(
        f"{'copies of a sample':<34}{'made':>6}{'found':>8}{'recall':>8}{'false':>7}{'precision':>11}"
    )
    sample = list(originals)[:: max(1, len(originals) // SAMPLE)]
    for name, change in CHANGES.items():
        copies = {}
        for original in sample:
            with Image.open(folder / original) as image:
                copies[f"\0{original}"] = check_image_bytes(
                    change(image.convert("RGB")), MAX_PIXELS
                ).features
        near = find_near_images(originals | copies)
        right = wrong = 0
        for copy in copies:
            linked = linked_with(near, copy)
            right += copy[1:] in linked
            family = {copy[1:], *linked_with(near, copy[1:])}
            wrong += len({other for other in linked if other[0] != "\0"} - family)
        precision = right / (right + wrong) if right + wrong else 0
        print(
            f"{name:<34}{len(copies):>6}{right:>8}{right / len(copies):>8.3f}{wrong:>7}{precision:>11.3f}"
        )


def linked_with(near: NearImages, name: str) -> set[str]:
    """Return the near duplicates of an image."""
    if name not in near.node:
        return set()
    wanted = {*near.neighbors[near.node[name]]}
    return {other for other, number in near.node.items() if number in wanted} - {name}


if __name__ == "__main__":
    search()
    for argument in sys.argv[1:]:
        altered_copies(Path(argument))
