"""How many images a second the field guide draws, beside a trivially simple drawing.

    python speed/field_guide.py            # images 128 pixels wide, one process and all processors

The yardstick is encoded as the field guide's images are, but shows one plain disc by Pillow: what a
canvas and the encoding cost at least.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw

from fdrd.field_guide import categories, draw, sample

SIZE = 128
IMAGES = 400
PAIRS = 3600


def field_guide(number: int) -> bytes:
    """One image of the field guide, encoded."""
    kinds = categories(120)
    return draw(kinds[number % 120], number // 120, size=SIZE).encoded()


def disc(number: int) -> bytes:
    """One plain disc, encoded alike."""
    image = Image.new("RGB", (SIZE, SIZE), (112, 158, number % 256))
    ImageDraw.Draw(image).ellipse((20, 30, 100, 110), fill=(203, 48, 44))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90, subsampling=0)
    return file.getvalue()


def per_second(make: Callable[[int], bytes]) -> float:
    """Images per second of processor time, the best of three rounds."""
    make(0)
    rounds = []
    for _ in range(3):
        start = time.process_time()
        for number in range(IMAGES):
            make(number)
        rounds.append(time.process_time() - start)
    return IMAGES / min(rounds)


def main() -> None:
    """Print both, and what a whole dataset takes by the clock."""
    ours, plain = per_second(field_guide), per_second(disc)
    print(f"field guide, one process   {ours:8.0f} images/s of processor time")
    print(f"plain disc, one process    {plain:8.0f} images/s of processor time")
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        sample(Path(folder) / "raw", pairs=PAIRS, size=SIZE)
        whole = PAIRS / (time.perf_counter() - start)
    print(f"sample(), {os.cpu_count()} processes      {whole:8.0f} images/s by the clock")


if __name__ == "__main__":
    main()
