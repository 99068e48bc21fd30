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


class Counting:
    """An image processor that counts its images."""

    def __init__(self, processor):
        self.processor = processor
        self.photos = 0

    def __call__(self, images, **asked):
        self.photos += len(images)
        return self.processor(images=images, **asked)


@pytest.fixture
def processor(tiny_clip):
    return Counting(tiny_clip.image_processor)


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
def test_training_processes_an_image_once(processor, room, batches, processed):
    pixels = PixelCache(processor, max_bytes=int(room * ONE))
    expected = processor.processor(images=PHOTOS, return_tensors="pt")["pixel_values"]
    for batch, count in zip(batches, processed, strict=True):
        processor.photos = 0
        assert torch.equal(pixels.of([PHOTOS[n] for n in batch]), expected[batch])
        assert processor.photos == count


def test_evaluation_caches_no_pixels(processor):
    pixels = PixelCache(processor)
    with torch.no_grad():
        pixels.of(PHOTOS[:1])
    pixels.of(PHOTOS[:1])
    assert processor.photos == 2


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
