"""Images are processed once per training and identified by content."""

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.models.image_batches import PixelCache, digests


def photo(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    return Image.fromarray(noise)


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


def test_training_processes_an_image_once(processor):
    pixels, photos = PixelCache(processor), [photo(seed) for seed in range(4)]
    expected = processor.processor(images=photos, return_tensors="pt")["pixel_values"]
    assert torch.equal(pixels.of(photos[:3]), expected[:3])
    again = pixels.of([photos[2], photos[3], photos[0]])
    assert torch.equal(again, expected[[2, 3, 0]])
    assert processor.photos == 4


def test_evaluation_caches_no_pixels(processor):
    pixels = PixelCache(processor)
    with torch.no_grad():
        pixels.of([photo(0)])
    pixels.of([photo(0)])
    assert processor.photos == 2


def test_a_full_cache_is_cleared(processor):
    pixels, photos = PixelCache(processor, max_bytes=3 * ONE - 1), [photo(s) for s in range(4)]
    expected = processor.processor(images=photos, return_tensors="pt")["pixel_values"]
    pixels.of(photos[:2])
    assert torch.equal(pixels.of(photos[1:3]), expected[1:3])  # the third does not fit beside two
    processor.photos = 0
    assert torch.equal(pixels.of(photos[2:]), expected[2:])
    assert torch.equal(pixels.of(photos[2:]), expected[2:])
    assert processor.photos == 1
    pixels.of(photos[:1])
    assert processor.photos == 2  # it was dropped


def test_a_batch_that_does_not_fit_is_processed_each_time(processor):
    pixels, photos = PixelCache(processor, max_bytes=2 * ONE), [photo(s) for s in range(3)]
    assert torch.equal(pixels.of(photos), pixels.of(photos))
    assert processor.photos == 6


def test_a_repeated_image_is_cached_once(processor):
    pixels = PixelCache(processor, max_bytes=2 * ONE)
    pixels.of([photo(0), photo(0), photo(1)])
    before = processor.photos
    pixels.of([photo(0), photo(1)])
    assert processor.photos == before


def test_digests_cover_palette_and_orientation():
    indices = Image.new("P", (2, 2), 1)
    black, white = indices.copy(), indices.copy()
    black.putpalette([0] * 6)
    white.putpalette([255] * 6)
    assert len(set(digests([black, white]))) == 2
    upright, lying = Image.new("RGB", (2, 2), "red"), Image.new("RGB", (2, 2), "red")
    upright.putpixel((0, 0), (0, 0, 0))
    lying.putpixel((0, 0), (0, 0, 0))
    lying.getexif()[0x0112] = 6
    assert len(set(digests([upright, lying]))) == 2
