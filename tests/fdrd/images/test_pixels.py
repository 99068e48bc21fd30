"""Every kind of image file is converted to the same known pixels, by the check and by the benchmark."""

import hashlib
import io

import datasets
import numpy as np
import pytest
from PIL import Image

from benchmark.models.image_batches import decoded
from fdrd.columns import features
from fdrd.dataset import RetrievalDataset
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


FILES = {  # file, colors at left and right, display rules
    "plain": (encoded(halves()), RED, GREEN, ()),
    "progressive": (encoded(halves(), "JPEG", progressive=True, quality=98), RED, GREEN, ()),
    "palette": (encoded(halves().quantize(4)), RED, GREEN, ()),
    "palette with a transparent color": (palette(), WHITE, GREEN, ("image_on_white",)),
    "alpha": (
        encoded(halves((255, 0, 0, 0), (0, 255, 0, 255), "RGBA")), WHITE, GREEN, ("image_on_white",),
    ),
    "half transparent": (
        encoded(halves((255, 0, 0, 128), (0, 255, 0, 255), "RGBA")),
        (255, 127, 127), GREEN, ("image_on_white",),
    ),
    "gray with alpha": (
        encoded(halves((0, 0), (0, 255), "LA")), WHITE, (0, 0, 0), ("image_on_white",),
    ),
    "one bit": (encoded(halves(1, 0, "1")), WHITE, (0, 0, 0), ()),
    "16 bits": (deep(), WHITE, (128, 128, 128), ("image_made_8_bit",)),
    "16 bits, TIFF": (deep("TIFF"), WHITE, (128, 128, 128), ("image_made_8_bit",)),
    "floats": (floats(), WHITE, (127, 127, 127), ("image_made_8_bit",)),
    "CMYK, JPEG": (cmyk("JPEG"), RED, GREEN, ("image_made_rgb",)),
    "CMYK, TIFF": (cmyk("TIFF"), RED, GREEN, ("image_made_rgb",)),
    "animated GIF": (animated("GIF"), RED, GREEN, ("image_first_of_many",)),
    "animated WebP": (animated("WEBP"), RED, GREEN, ("image_first_of_many",)),
    "animated PNG": (animated("PNG"), RED, GREEN, ("image_first_of_many",)),
    "pages of a TIFF": (animated("TIFF"), RED, GREEN, ("image_first_of_many",)),
    "mirrored by EXIF": (encoded(halves(), exif=turned(2)), GREEN, RED, ("image_turned",)),
    "upside down by EXIF": (
        encoded(halves(), "JPEG", exif=turned(3), quality=98), GREEN, RED, ("image_turned",),
    ),
    "rotated by EXIF": (
        encoded(halves().transpose(Image.Transpose.ROTATE_90), exif=turned(6)),
        RED, GREEN, ("image_turned",),
    ),
    "upright by EXIF": (encoded(halves(), exif=turned(1)), RED, GREEN, ()),
}  # fmt: skip


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


def test_the_benchmark_reads_every_kind_in_upright_rgb():
    schema = datasets.Features.from_dict(features(["x"]))
    rows = [
        {
            "id": kind, "image": {"bytes": data, "path": None}, "caption": kind, "category": 0, "meta_category": "",
            "domain": "d", "attributes": [], "negatives": [], "natural_pairs": [], "group": kind,
            "width": 32, "height": 16,
            "source": {"file": kind, "sha256": hashlib.sha256(data).hexdigest(), "license": "", "origin": ""},
        }
        for kind, (data, *_) in FILES.items()
    ]  # fmt: skip
    split = RetrievalDataset(datasets.Dataset.from_list(rows, schema), name="d", split="test")
    images = split.images(range(len(FILES)))
    for image, (_, left, right, _) in zip(images, FILES.values(), strict=True):
        assert_shows(image, left, right)


def test_images_outside_a_dataset_are_converted_the_same_way():
    (image,) = decoded([Image.open(io.BytesIO(FILES["alpha"][0]))])
    assert_shows(image, WHITE, GREEN)


def test_features_are_computed_after_rotation_and_flattening():
    found = {kind: check_image_bytes(data, 10_000).features for kind, (data, *_) in FILES.items()}
    assert found["rotated by EXIF"] == found["plain"]
    assert found["alpha"] == found["palette with a transparent color"] != found["plain"]


def test_a_broken_second_frame_does_not_matter():
    data = animated("GIF")
    assert check_image_bytes(data[:-40], 10_000).rules == ("image_first_of_many",)
