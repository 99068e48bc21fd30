"""Small drawn images, synthetic ones similar to photographs, and an image folder."""

import io
import json
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


def image_bytes(seed, size=(24, 16), form="PNG", **options):
    """Return the bytes of an image that is unique for the seed."""
    image = Image.new("RGB", size, (seed * 37 % 256, seed * 91 % 256, seed * 11 % 256))
    image.putpixel((seed % size[0], seed // size[0] % size[1]), (255, 255, 255))
    image.putpixel((seed * 7 % size[0], seed * 5 % size[1]), (0, 0, 0))  # not a mirror image
    return encoded(image, form, **options)


def draw_birds(root):
    """Write an image folder of two categories with 20 train and 4 test pairs each; one image has two captions."""
    lines = []
    for number in range(48):
        category = ("wren", "robin")[number % 2]
        path = f"{'test' if number % 6 == 5 else 'train'}/{category}/{number:02d}.png"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(image_bytes(number))
        caption = f"A small {category} sits on branch {number} in the green shade."
        lines.append({"file_name": path, "caption": caption, "license": "CC0-1.0"})
    lines.append({"file_name": "train/wren/00.png", "caption": "A wren, once more."})
    (root / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root
