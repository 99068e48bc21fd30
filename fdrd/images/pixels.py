"""Convert a decoded image to what a viewer shows: upright, 8-bit RGB, transparency on white, first frame.

Shards contain the bytes of the source files. Everything that decodes them must convert them here.
"""

from PIL import Image, ImageOps

ORIENTATION = 0x0112  # EXIF tag of the orientation; 1 is upright

_DEEP = ("I", "F")  # also I;16, I;16B, ...: more than 8 bits, which Pillow would clip at 255
_PLAIN = ("1", "L", "P", "PA", "LA", "La", "RGB", "RGBA", "RGBa", "RGBX")


def upright_rgb(image: Image.Image) -> Image.Image:
    """Return the image upright and in RGB.

    >>> upright_rgb(Image.new("RGBA", (1, 1), (255, 0, 0, 0))).getpixel((0, 0))
    (255, 255, 255)
    """
    return _flatten(upright(image)).convert("RGB")


def upright(image: Image.Image) -> Image.Image:
    """Rotate the image as its EXIF data says. Like `datasets`, raise if the data is broken."""
    if image.getexif().get(ORIENTATION) is None:
        return image
    return ImageOps.exif_transpose(image)


def small_grayscale(image: Image.Image, size: int) -> Image.Image:
    """Return an upright image in grayscale, resized to `size` x `size`."""
    small = _flatten(image).resize((size, size), Image.Resampling.BOX, reducing_gap=2.0)
    return small if small.mode == "L" else small.convert("L")


def display_rules(image: Image.Image) -> tuple[str, ...]:
    """Return the keys of `fdrd.reasons.RULES` that apply when a decoded image is displayed."""
    steps = {
        "image_turned": image.getexif().get(ORIENTATION, 1) in range(2, 9),
        "image_first_of_many": _has_more(image),
        "image_on_white": image.has_transparency_data,
        "image_made_8_bit": image.mode.startswith(_DEEP),
        "image_made_rgb": not image.mode.startswith(_DEEP) and image.mode not in _PLAIN,
    }
    return tuple(rule for rule, needed in steps.items() if needed)


def _flatten(image: Image.Image) -> Image.Image:
    """Return the image in L or RGB, with transparent parts on white."""
    if image.mode.startswith(_DEEP):
        image = _eight_bits(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale grayscale values to 8 bits: integers up to 65,535, or floats up to 1 or 255."""
    import numpy as np

    values = np.asarray(image)
    if image.mode == "F":
        values = np.nan_to_num(values) * (255 if np.nanmax(values, initial=0) <= 1 else 1)
    elif image.mode != "I" or values.max(initial=0) > 255:
        values = values.clip(0, 65535) // 256  # 65,535 is white
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def _has_more(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a broken second frame: the first is good
        return True
