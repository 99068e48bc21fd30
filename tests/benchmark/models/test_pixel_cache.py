"""Pictures for a tower: what is processed once, what again, and what tells pictures apart."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.models.image_batches import digests
from benchmark.models.pixel_cache import Pixels


def picture(seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    return Image.fromarray(noise)


class Counting:
    """An image processor that remembers how many pictures it was given."""

    def __init__(self, processor: Any):
        self.processor = processor
        self.pictures = 0

    def __call__(self, images: list[Image.Image], **asked: Any) -> Any:
        self.pictures += len(images)
        return self.processor(images=images, **asked)


@pytest.fixture
def processor(tiny_clip: Any) -> Counting:
    return Counting(tiny_clip.image_processor)


ONE = 3 * 32 * 32 * 4
"""Bytes of a picture as the tiny CLIP is given it."""


def test_a_training_processes_a_picture_once(processor: Counting) -> None:
    pixels, pictures = Pixels(processor), [picture(seed) for seed in range(4)]
    expected = processor.processor(images=pictures, return_tensors="pt")["pixel_values"]
    assert torch.equal(pixels.of(pictures[:3]), expected[:3])
    again = pixels.of([pictures[2], pictures[3], pictures[0]])
    assert torch.equal(again, expected[[2, 3, 0]])
    assert processor.pictures == 4


def test_an_evaluation_keeps_nothing(processor: Counting) -> None:
    pixels = Pixels(processor)
    with torch.no_grad():
        pixels.of([picture(0)])
    pixels.of([picture(0)])
    assert processor.pictures == 2


def test_what_is_full_makes_room_for_another_training(processor: Counting) -> None:
    pixels, pictures = Pixels(processor, most_bytes=3 * ONE - 1), [picture(s) for s in range(4)]
    expected = processor.processor(images=pictures, return_tensors="pt")["pixel_values"]
    pixels.of(pictures[:2])
    assert torch.equal(pixels.of(pictures[1:3]), expected[1:3])  # the third does not fit beside two
    processor.pictures = 0
    assert torch.equal(pixels.of(pictures[2:]), expected[2:])
    assert torch.equal(pixels.of(pictures[2:]), expected[2:])
    assert processor.pictures == 1
    pixels.of(pictures[:1])
    assert processor.pictures == 2  # it was let go


def test_a_batch_that_does_not_fit_is_processed_each_time(processor: Counting) -> None:
    pixels, pictures = Pixels(processor, most_bytes=2 * ONE), [picture(s) for s in range(3)]
    assert torch.equal(pixels.of(pictures), pixels.of(pictures))
    assert processor.pictures == 6


def test_a_picture_twice_in_a_batch_is_kept_once(processor: Counting) -> None:
    pixels = Pixels(processor, most_bytes=2 * ONE)
    pixels.of([picture(0), picture(0), picture(1)])
    before = processor.pictures
    pixels.of([picture(0), picture(1)])
    assert processor.pictures == before


def test_pictures_of_the_same_bytes_that_look_different_are_told_apart() -> None:
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
