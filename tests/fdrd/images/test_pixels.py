"""Every kind of image file is converted to the same known pixels, by the check and by the benchmark."""

import io

import numpy as np
import pytest
from PIL import Image

from benchmark.models.image_batches import decoded
from fdrd.captioning.uncaptioned import find_uncaptioned
from fdrd.images.check import check_image_bytes
from fdrd.images.pixels import upright_rgb
from tests.scenes import encoded

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def halves(left=RED, right=GREEN, mode="RGB", size=(32, 16)):
    image = Image.new(mode, size, left)
    image.paste(right, (size[0] // 2, 0, *size))
    return image


def turned(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


def palette():
    image = halves().quantize(4)
    image.info["transparency"] = image.getpixel((0, 0))
    return encoded(image, transparency=image.getpixel((0, 0)))


def deep(form="PNG"):
    values = np.full((16, 32), 65535, dtype=np.uint16)
    values[:, 16:] = 32768
    return encoded(Image.fromarray(values), form)


def floats():
    values = np.full((16, 32), 1.0, dtype=np.float32)
    values[:, 16:] = 0.5
    return encoded(Image.fromarray(values), "TIFF")


def animated(form):
    return encoded(halves(), form, save_all=True, append_images=[halves(GREEN, RED)], lossless=True)


def cmyk(form):
    return encoded(halves((0, 255, 255, 0), (255, 0, 255, 0), "CMYK"), form, quality=95)


def alpha(left, right, mode="RGBA"):
    return encoded(halves(left, right, mode))


BLACK, GRAY, FLAT, EIGHT = (0, 0, 0), (128,) * 3, ("image_on_white",), ("image_made_8_bit",)
OPAQUE = (0, 255, 0, 255)
ROTATED = halves().transpose(Image.Transpose.ROTATE_90)
FILES = {  # file, colors at left and right, display rules
    "plain": (encoded(halves()), RED, GREEN, ()),
    "progressive": (encoded(halves(), "JPEG", progressive=True, quality=98), RED, GREEN, ()),
    "palette": (encoded(halves().quantize(4)), RED, GREEN, ()),
    "palette with a transparent color": (palette(), WHITE, GREEN, FLAT),
    "alpha": (alpha((255, 0, 0, 0), OPAQUE), WHITE, GREEN, FLAT),
    "half transparent": (alpha((255, 0, 0, 128), OPAQUE), (255, 127, 127), GREEN, FLAT),
    "gray with alpha": (alpha((0, 0), (0, 255), "LA"), WHITE, BLACK, FLAT),
    "one bit": (encoded(halves(1, 0, "1")), WHITE, BLACK, ()),
    "16 bits": (deep(), WHITE, GRAY, EIGHT),
    "16 bits, TIFF": (deep("TIFF"), WHITE, GRAY, EIGHT),
    "floats": (floats(), WHITE, (127, 127, 127), EIGHT),
    "CMYK, JPEG": (cmyk("JPEG"), RED, GREEN, ("image_made_rgb",)),
    "CMYK, TIFF": (cmyk("TIFF"), RED, GREEN, ("image_made_rgb",)),
    **{
        f"animated {form}": (animated(form), RED, GREEN, ("image_first_of_many",))
        for form in ("GIF", "WEBP", "PNG", "TIFF")
    },
    "mirrored by EXIF": (encoded(halves(), exif=turned(2)), GREEN, RED, ("image_turned",)),
    "upside down by EXIF": (encoded(halves(), exif=turned(3)), GREEN, RED, ("image_turned",)),
    "rotated by EXIF": (encoded(ROTATED, exif=turned(6)), RED, GREEN, ("image_turned",)),
    "upright by EXIF": (encoded(halves(), exif=turned(1)), RED, GREEN, ()),
}


def near(pixel, wanted):
    return max(abs(a - b) for a, b in zip(pixel, wanted, strict=True)) <= 6


def assert_shows(image, left, right):
    assert (image.mode, image.size) == ("RGB", (32, 16))
    assert near(image.getpixel((4, 8)), left), image.getpixel((4, 8))
    assert near(image.getpixel((28, 8)), right), image.getpixel((28, 8))


@pytest.mark.parametrize("kind", FILES)
def test_every_kind_of_file_converts_to_upright_rgb_with_its_display_rules(kind):
    data, left, right, rules = FILES[kind]
    assert_shows(upright_rgb(Image.open(io.BytesIO(data))), left, right)
    found = check_image_bytes(data, 10_000)
    assert (found.reason, found.rules) == ("", rules)
    assert (found.width, found.height) == (32, 16)
    assert found.features


def test_the_benchmark_reads_every_kind_in_upright_rgb(make_row, make_dataset):
    kinds = enumerate(FILES.items())
    rows = [make_row(number, data, kind, "x") for number, (kind, (data, *_)) in kinds]
    images = make_dataset(rows, "test", ["x"]).images(range(len(FILES)))
    for image, (_, left, right, _) in zip(images, FILES.values(), strict=True):
        assert_shows(image, left, right)


def test_images_outside_a_dataset_and_of_captioners_are_converted_the_same_way(tmp_path, write):
    (image,) = decoded([Image.open(io.BytesIO(FILES["alpha"][0]))])
    assert_shows(image, WHITE, GREEN)
    write("wren/1.png", FILES["alpha"][0])
    (found,) = find_uncaptioned(tmp_path / "raw").images
    assert_shows(found.load(), WHITE, GREEN)
    assert found.load(8).size == (8, 4)


def test_features_are_computed_after_rotation_and_flattening():
    found = {kind: check_image_bytes(data, 10_000).features for kind, (data, *_) in FILES.items()}
    assert found["rotated by EXIF"] == found["plain"]
    assert found["alpha"] == found["palette with a transparent color"] != found["plain"]


def test_a_broken_second_frame_does_not_matter():
    data = animated("GIF")
    assert check_image_bytes(data[:-40], 10_000).rules == ("image_first_of_many",)
