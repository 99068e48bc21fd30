"""Measure recall and precision of the search for near duplicates, on altered copies of a sample of JPEGs.

    python speed/near_duplicates.py FOLDER

All originals and all copies are searched at once. A copy counts as found if it is linked with its original. A link is
false if it leads to an image that its original is not linked with.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from itertools import chain, product
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from fdrd.curation.near_duplicates import find_near_images
from fdrd.images.check import check_image_bytes

SAMPLE, MAX_PIXELS = 300, 50_000_000

Photo = Image.Image


def cropped(image: Photo, left: float, others: float) -> Photo:
    """Cut these shares off the left side, and off each other side."""
    width, height = image.size
    end = (round((1 - others) * width), round((1 - others) * height))
    return image.crop((round(left * width), round(others * height), *end))


def scaled(image: Photo, x: float, y: float) -> Photo:
    """Resize an image."""
    return image.resize((max(1, round(image.width * x)), max(1, round(image.height * y))))


def noisy(image: Photo) -> Photo:
    """Add noise of 20 gray levels."""
    levels = np.asarray(image) + np.random.default_rng(0).normal(0, 20, (*image.size[::-1], 3))
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def watermarked(image: Photo) -> Photo:
    """Write half transparent white letters across the middle."""
    layer = Image.new("RGBA", image.size, (255, 255, 255, 0))
    center, font = (image.width / 2, image.height / 2), letters(image.width / 10)
    ImageDraw.Draw(layer).text(center, "SAMPLE PHOTO", (255, 255, 255, 128), font, anchor="mm")
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def labeled(image: Photo) -> Photo:
    """Paste a white label into the lower right corner."""
    image, (width, height) = image.copy(), image.size
    pen = ImageDraw.Draw(image)
    pen.rectangle((0.72 * width, 0.86 * height, 0.98 * width, 0.97 * height), fill="white")
    center = (0.85 * width, 0.915 * height)
    pen.text(center, "PHOTO", "black", letters(width / 16), anchor="mm")
    return image


def letters(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's font in a size of at least 8 pixels."""
    return ImageFont.load_default(max(8, round(size)))


def framed(image: Photo, color: str) -> Photo:
    """Add a border of 4 % of the width and of the height at each side."""
    return ImageOps.expand(image, (round(0.04 * image.width), round(0.04 * image.height)), color)


QUALITY = {"JPEG of quality 75": 75, "JPEG of quality 30": 30, "JPEG of quality 10": 10}
CHANGES: dict[str, Callable[[Photo], Photo]] = {
    **dict.fromkeys(QUALITY, lambda image: image),
    "half the size": lambda image: scaled(image, 0.5, 0.5),
    "1.5 times the size": lambda image: scaled(image, 1.5, 1.5),
    "height reduced by a tenth": lambda image: scaled(image, 1, 0.9),
    "blurred, radius 1 % of the width": lambda image: image.filter(
        ImageFilter.GaussianBlur(image.width / 100)
    ),
    "noise of 20 gray levels": noisy,
    "gray": lambda image: image.convert("L").convert("RGB"),
    "contrast x 0.6": lambda image: ImageEnhance.Contrast(image).enhance(0.6),
    "contrast x 1.4": lambda image: ImageEnhance.Contrast(image).enhance(1.4),
    "brightness x 0.6": lambda image: ImageEnhance.Brightness(image).enhance(0.6),
    "brightness x 1.4": lambda image: ImageEnhance.Brightness(image).enhance(1.4),
    "gamma 1.5": lambda image: image.point([round(255 * (n / 255) ** 1.5) for n in range(256)] * 3),
    "watermark across the middle": watermarked,
    "label in a corner": labeled,
    "cropped by 2 % on all sides": lambda image: cropped(image, 0.02, 0.02),
    "cropped by 5 % on all sides": lambda image: cropped(image, 0.05, 0.05),
    "cropped by 5 % on the left": lambda image: cropped(image, 0.05, 0),
    "cropped by 10 % on all sides": lambda image: cropped(image, 0.1, 0.1),
    "black border of 4 %": lambda image: framed(image, "black"),
    "white border of 4 %": lambda image: framed(image, "white"),
    "rotated by 2 degrees": lambda image: image.rotate(2, Image.Resampling.BICUBIC),
    "rotated by 90 degrees": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "mirrored": ImageOps.mirror,
    "mirrored, cropped by 3 %": lambda image: cropped(ImageOps.mirror(image), 0.03, 0.03),
}
"""Copies are saved as JPEG of quality 90 unless `QUALITY` says otherwise."""


def main(folder: Path) -> None:
    """Print recall and false links for each kind of change, as a Markdown table."""
    files = sorted([*folder.rglob("*.jpg"), *folder.rglob("*.jpeg")])
    if not files:
        sys.exit(f"{folder} contains no .jpg or .jpeg files")
    with tempfile.TemporaryDirectory() as copies_folder:
        original = write_copies(files, Path(copies_folder))
        start = time.perf_counter()
        links = find_links(Path(copies_folder))
        seconds = time.perf_counter() - start
    print(f"{len(files):,} images, {len(original):,} copies: {seconds:.1f} s")
    print("| change | fdrd |\n|---|---|")
    copies_by_change = defaultdict(list)
    for copy in original:
        copies_by_change[list(CHANGES)[int(copy.split("-")[0])]].append(copy)
    for change, copies in [*copies_by_change.items(), ("all", list(original))]:
        print(f"| {change} | {score(copies, original, links)} |")


def write_copies(files: list[Path], folder: Path) -> dict[str, str]:
    """Write copies of a sample, and links to all files; return the original of each copy."""
    original = {}
    for index, file in enumerate(files):
        name = f"original-{index}.jpg"
        (folder / name).symlink_to(file.resolve())
        if index % max(1, len(files) // SAMPLE):
            continue
        with Image.open(file) as opened:
            image = opened.convert("RGB")
        for kind, (change, make) in enumerate(CHANGES.items()):
            copy = f"{kind}-{index}.jpg"
            make(image).save(folder / copy, quality=QUALITY.get(change, 90))
            original[copy] = name
    return original


def find_links(folder: Path) -> dict[str, set[str]]:
    """Return by image the near duplicates and mirror images that it is linked with, in both directions."""
    checks = {
        file.name: check_image_bytes(file.read_bytes(), MAX_PIXELS) for file in folder.iterdir()
    }
    links: dict[str, set[str]] = defaultdict(set)
    for graph in find_near_images({name: check.features for name, check in checks.items()}):
        images = defaultdict(list)
        for name, node in graph.node.items():
            images[node].append(name)
        for node, others in graph.neighbors.items():
            for one, another in product(images[node], chain(*(images[each] for each in others))):
                links[one].add(another)
                links[another].add(one)
    return links


def score(
    copies: list[str], original: Mapping[str, str], links: Mapping[str, Collection[str]]
) -> str:
    """Return the recall, and the number of false links."""
    right = sum(original[copy] in links.get(copy, ()) for copy in copies)
    wrong = 0
    for copy in copies:
        family = {original[copy], *links.get(original[copy], ())}
        wrong += len({*links.get(copy, ())} - original.keys() - family)
    return f"{100 * right / len(copies):.0f} %, {wrong}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python speed/near_duplicates.py FOLDER")
    main(Path(sys.argv[1]))
