"""Measure how the time of `fdrd build` grows with odd sources: n, 2n and 4n of what is odd, and the ratios.

    python speed/odd_sources.py [NAME...]      # captions, groups, words, categories, letters; default: all

A ratio near 2 is growth in proportion. Processor seconds of one process count; images are of 64 pixels.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

import fdrd

Pair = tuple[int, str, str]
"""Number of the image, category, caption."""


def captions_of_one_image(n: int) -> list[Pair]:
    """Return n captions of one image."""
    return [(0, "bird", f"A bird sits on branch {number}.") for number in range(n)]


def captions_of_few_images(n: int) -> list[Pair]:
    """Return n captions of five images."""
    return [(number % 5, "bird", f"A bird sits on branch {number}.") for number in range(n)]


def categories_of_many_words(n: int) -> list[Pair]:
    """Return n categories: "very bird", "very very bird", and so on, up to the limit of a category's length."""
    names = [("very " * (1 + number % 190) + f"bird {number}") for number in range(n)]
    return [(number, name, f"A {name} sits.") for number, name in enumerate(names)]


def nested_categories(n: int) -> list[Pair]:
    """Return n categories of 1 to n words, each part of the next one."""
    names = ["very " * number + "bird" for number in range(n)]
    return [(number, name, f"A {name} sits.") for number, name in enumerate(names)]


def category_of_each_pair(n: int) -> list[Pair]:
    """Return n pairs, each with its own category."""
    return [(number, f"bird {number}", f"A bird {number} sits.") for number in range(n)]


def categories_of_many_letters(n: int) -> list[Pair]:
    """Return 50 categories of n letters."""
    return [(number, f"{number:03d}" + "x" * n, "A bird sits.") for number in range(50)]


CASES: dict[str, tuple[int, Callable[[int], list[Pair]]]] = {
    "captions": (1250, captions_of_one_image),
    "groups": (1000, captions_of_few_images),
    "words": (100, categories_of_many_words),
    "nested": (50, nested_categories),
    "categories": (1000, category_of_each_pair),
    "letters": (240, categories_of_many_letters),
}


def write_source(pairs: list[Pair], folder: Path) -> None:
    """Write images of noise and `metadata.jsonl`."""
    draw = np.random.default_rng(0)
    for number in sorted({image for image, _, _ in pairs}):
        file = io.BytesIO()
        blocks = draw.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(blocks.repeat(8, 0).repeat(8, 1)).save(file, "PNG")
        (folder / f"{number}.png").write_bytes(file.getvalue())
    lines = [
        json.dumps({"file_name": f"{image}.png", "category": category, "caption": caption})
        for image, category, caption in pairs
    ]
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")


def seconds(pairs: list[Pair]) -> float:
    """Return the processor seconds of a build."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("FDRD_SPEED_DIR")) as temporary:
        os.environ["HF_HOME"] = os.environ["FDRD_CACHE"] = f"{temporary}/cache"
        source = Path(temporary, "source")
        source.mkdir()
        write_source(pairs, source)
        start = time.process_time()
        fdrd.build(source, f"{temporary}/built", workers=1)
        return time.process_time() - start


def main() -> None:
    """Print a line for each case."""
    seconds(captions_of_few_images(20))  # imports
    print(f"{'':12} {'n':>6} {'n':>8} {'2n':>8} {'4n':>8}   ratios")
    for name in sys.argv[1:] or CASES:
        n, case = CASES[name]
        times = [seconds(case(size)) for size in (n, 2 * n, 4 * n)]
        ratios = " ".join(f"{b / a:.2f}" for a, b in pairwise(times))
        shown = " ".join(f"{each:7.2f}s" for each in times)
        print(f"{name:12} {n:6} {shown}   {ratios}", flush=True)


if __name__ == "__main__":
    main()
