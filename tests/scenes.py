"""Synthetic images with large and small shapes, similar to photographs."""

import io
import random

from PIL import Image, ImageDraw

ORIGINAL = {"form": "JPEG", "quality": 95}


def scene(seed, size=(320, 240)):
    """Return an image of ellipses that depends on the seed."""
    chance = random.Random(seed)
    image = Image.new("RGB", size, tuple(chance.randrange(256) for _ in range(3)))
    pen = ImageDraw.Draw(image)
    for number in range(40):
        x, y = chance.randrange(size[0]), chance.randrange(size[1])
        radius = chance.randrange(6, 90 - 2 * number)
        color = tuple(chance.randrange(256) for _ in range(3))
        pen.ellipse((x - radius, y - radius // 2, x + radius, y + radius // 2), fill=color)
    return image


def encoded(image, form="PNG", **options):
    """Return the bytes of an image file."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()
