"""Images are processed once per training and identified by content."""

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.models.image_batches import PixelCache, digests

PHOTOS = [
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8))
    for seed in range(4)
]


def counted(processor, seen):
    """Return an image processor that appends the images that it processes to `seen`."""

    def process(images, **asked):
        seen.extend(images)
        return processor(images=images, **asked)

    return process


ONE = 3 * 32 * 32 * 4
"""Bytes of a preprocessed image."""


@pytest.mark.parametrize(
    ("room", "batches", "processed"),
    [
        (9, [[0, 1, 2], [2, 3, 0]], [3, 1]),
        (2, [[0, 0, 1], [0, 1]], [3, 0]),  # a repeated image is cached once
        (2.9, [[0, 1], [1, 2], [2, 3], [2, 3], [0]], [2, 1, 1, 0, 1]),  # a full cache is cleared
        (2, [[0, 1, 2], [0, 1, 2]], [3, 3]),  # a batch that does not fit
    ],
    ids=["again", "repeated", "full", "too large"],
)
def test_training_processes_an_image_once(tiny_clip, room, batches, processed):
    processor, seen = tiny_clip.image_processor, []
    pixels = PixelCache(counted(processor, seen), max_bytes=int(room * ONE))
    expected = processor(images=PHOTOS, return_tensors="pt")["pixel_values"]
    for batch, count in zip(batches, processed, strict=True):
        seen.clear()
        assert torch.equal(pixels.of([PHOTOS[n] for n in batch]), expected[batch])
        assert len(seen) == count


def test_evaluation_caches_no_pixels(tiny_clip):
    seen = []
    pixels = PixelCache(counted(tiny_clip.image_processor, seen))
    with torch.no_grad():
        pixels.of(PHOTOS[:1])
    pixels.of(PHOTOS[:1])
    assert len(seen) == 2


def test_digests_cover_palette_and_orientation():
    black, white = (Image.new("P", (2, 2), 1) for _ in range(2))
    black.putpalette([0] * 6)
    white.putpalette([255] * 6)
    assert len(set(digests([black, white]))) == 2
    upright = Image.new("RGB", (2, 2), "red")
    upright.putpixel((0, 0), (0, 0, 0))
    lying = upright.copy()
    lying.getexif()[0x0112] = 6
    assert len(set(digests([upright, lying]))) == 2
