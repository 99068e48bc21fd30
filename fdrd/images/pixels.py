"""A decoded picture as a person sees it: upright, in RGB of 8 bits, what is transparent on white, the first of many.

A shard holds the bytes of the source file; whoever decodes them gets the picture through here.
"""

from __future__ import annotations

from PIL import Image, ImageOps

ORIENTATION = 0x0112
"""The EXIF tag that says how a picture must be turned; 1 is upright."""

_DEEP = ("I", "F")  # and I;16, I;16B, ...: more than 8 bits, which Pillow would cut off at 255
_PLAIN = ("1", "L", "P", "PA", "LA", "La", "RGB", "RGBA", "RGBa", "RGBX")


def as_seen(image: Image.Image) -> Image.Image:
    """The picture upright and in RGB.

    >>> as_seen(Image.new("RGBA", (1, 1), (255, 0, 0, 0))).getpixel((0, 0))
    (255, 255, 255)
    """
    return _flat(upright(image)).convert("RGB")


def upright(image: Image.Image) -> Image.Image:
    """The picture turned as its EXIF says; as `datasets` does, and fails where that fails."""
    if image.getexif().get(ORIENTATION) is None:
        return image
    return ImageOps.exif_transpose(image)


def small_grey(image: Image.Image, size: int) -> Image.Image:
    """An upright picture as it is seen, in grey, `size` pixels wide and high."""
    flat = _flat(image)
    return flat.resize((size, size), Image.Resampling.BOX, reducing_gap=2.0).convert("L")


def rules_of(image: Image.Image) -> tuple[str, ...]:
    """What must be done to see a picture that was just decoded: keys of `fdrd.reasons.RULES`."""
    steps = {
        "image_turned": image.getexif().get(ORIENTATION, 1) in range(2, 9),
        "image_first_of_many": _has_more(image),
        "image_on_white": image.has_transparency_data,
        "image_made_8_bit": image.mode.startswith(_DEEP),
        "image_made_rgb": not image.mode.startswith(_DEEP) and image.mode not in _PLAIN,
    }
    return tuple(rule for rule, needed in steps.items() if needed)


def _flat(image: Image.Image) -> Image.Image:
    """The picture in L or RGB, what is transparent on white."""
    if image.mode.startswith(_DEEP):
        image = _eight_bits(image)
    if image.has_transparency_data:
        shown = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown).convert("RGB")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """A grey picture of whole numbers up to 65,535, or of floats up to 1 or 255, in 8 bits."""
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
