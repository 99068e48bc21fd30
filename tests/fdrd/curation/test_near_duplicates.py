"""The search is exact and links copies of one image, but no other images."""

import functools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from fdrd.curation.near_duplicates import find_near_images
from fdrd.field_guide import categories, draw
from fdrd.images import perceptual
from fdrd.images.check import check_image_bytes
from fdrd.images.perceptual import (
    alike,
    contrast,
    features_of,
    hashes,
    near_pairs,
    spectra,
    thumbnail,
    unpack,
)
from tests.scenes import ORIGINAL, encoded, scene

LIMIT = 10**7


def perceptual_features(image):
    return features_of([thumbnail(image)])[0]


def crop(image, left, top, right, bottom):
    return image.crop((left, top, image.width - right, image.height - bottom))


VARIANTS = {
    "as PNG": lambda image: encoded(image),
    "lower quality": lambda image: encoded(image, "JPEG", quality=30),
    "progressive": lambda image: encoded(image, "JPEG", quality=80, progressive=True),
    "half size": lambda image: encoded(image.resize((160, 120)), "JPEG", quality=90),
    "larger": lambda image: encoded(image.resize((480, 360)), "JPEG", quality=90),
    "slightly squeezed": lambda image: encoded(image.resize((320, 220)), "JPEG", quality=90),
    "cropped at each side": lambda image: encoded(crop(image, 6, 6, 6, 6), "JPEG", quality=90),
    "cropped at one side": lambda image: encoded(crop(image, 8, 0, 0, 0), "JPEG", quality=90),
    "less contrast": lambda image: encoded(ImageEnhance.Contrast(image).enhance(0.6)),
    "darker": lambda image: encoded(ImageEnhance.Brightness(image).enhance(0.6)),
    "another gamma": lambda image: encoded(
        image.point([round(255 * (n / 255) ** 1.2) for n in range(256)] * 3)
    ),
    "a label in the corner": lambda image: encoded(labeled(image)),
    "rotated by EXIF": lambda image: encoded(
        image.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=90, exif=orientation(6)
    ),
}


def labeled(image):
    image = image.copy()
    image.paste("white", (286, 216, 310, 230))
    return image


def orientation(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


@given(
    st.lists(st.integers(0, 2**64 - 1), max_size=40),
    st.lists(st.tuples(st.integers(0, 39), st.integers(0, 2**64 - 1)), max_size=40),
    st.integers(0, 12),
)
@settings(max_examples=40, deadline=None)
def test_the_search_finds_the_same_pairs_as_brute_force(some, flips, radius):
    near = [
        some[place % len(some)] ^ (mask & (mask >> 7) & (mask << 9) & (2**64 - 1))
        for place, mask in flips
        if some
    ]
    assert_finds_all(np.array(some + near, dtype=np.uint64), radius)


def test_a_radius_over_15_is_refused():
    with pytest.raises(ValueError, match="at most 15, got 16"):
        next(near_pairs(np.zeros(2, np.uint64), 16))


def test_many_hashes_use_fewer_chunks_and_all_pairs_are_found(monkeypatch):
    monkeypatch.setattr("fdrd.images.perceptual.FEW", 0)
    monkeypatch.setattr("fdrd.images.perceptual.LOOKED_UP", 16)
    chance = random.Random(0)
    numbers = [chance.getrandbits(64) for _ in range(60)]
    for number in numbers[:60]:
        flips = (1 << chance.randrange(64) for _ in range(chance.randrange(12)))
        numbers.append(functools.reduce(int.__xor__, flips, number))
    assert assert_finds_all(np.array(numbers, dtype=np.uint64), 8) > 30


def assert_finds_all(numbers, radius):
    """Compare with brute force and return the number of pairs."""
    found = {
        (min(pair), max(pair))
        for first, second in near_pairs(numbers, radius)
        for pair in zip(first.tolist(), second.tolist(), strict=True)
    }
    wanted = {
        (i, j)
        for j in range(len(numbers))
        for i in range(j)
        if (int(numbers[i]) ^ int(numbers[j])).bit_count() <= radius
    }
    assert found == wanted
    middle = len(numbers) // 2
    across = {
        (i, middle + j)
        for first, second in near_pairs(numbers[:middle], radius, numbers[middle:])
        for i, j in zip(first.tolist(), second.tolist(), strict=True)
    }
    assert across == {(i, j) for i, j in wanted if i < middle <= j}
    return len(wanted)


def test_blocks_of_pairs_are_bounded_and_complete(monkeypatch):
    monkeypatch.setattr("fdrd.images.perceptual.BLOCK", 10)
    blocks = list(near_pairs(np.zeros(30, dtype=np.uint64), 0))
    assert max(len(first) for first, _ in blocks) < 10 + 30
    pairs = {(i, j) for first, second in blocks for i, j in zip(first, second, strict=True)}
    assert len(pairs) == 30 * 29 / 2


SCENES = [scene(seed) for seed in range(8)]


def file_features(data):
    return check_image_bytes(data, LIMIT).features


@pytest.fixture(scope="module")
def originals():
    return {f"{n}": file_features(encoded(image, **ORIGINAL)) for n, image in enumerate(SCENES)}


@pytest.mark.parametrize("change", VARIANTS, ids=str)
def test_a_changed_copy_is_linked_to_its_original_only(originals, change):
    copies = {
        f"{n} changed": file_features(VARIANTS[change](image)) for n, image in enumerate(SCENES)
    }
    near, _ = find_near_images(originals | copies)
    for name in originals:
        nodes = near.neighbors[near.node[name]]
        family = {digest for digest, node in near.node.items() if node in nodes} | {name}
        assert family == {name, f"{name} changed"}


def test_overexposed_copies_are_compared_where_they_are_not_white():
    whole = {f"{n}": perceptual_features(image) for n, image in enumerate(SCENES)}
    copies = {
        f"{n} changed": perceptual_features(ImageEnhance.Brightness(image).enhance(1.4))
        for n, image in enumerate(SCENES)
    }
    near, _ = find_near_images(whole | copies)
    linked = {
        frozenset(name for name, other in near.node.items() if other in (node, *others))
        for node, others in near.neighbors.items()
    }
    assert len(linked) >= 4
    assert linked <= {frozenset((name, f"{name} changed")) for name in whole}


@pytest.mark.parametrize(
    "change",
    [ImageOps.flip, lambda image: crop(image, 60, 40, 0, 0), ImageOps.invert],
    ids=["flipped", "cropped by a fifth", "negative"],
)
def test_other_changes_make_another_image(change):
    image = scene(3)
    near, mirrored = find_near_images(
        {"a": perceptual_features(image), "b": perceptual_features(change(image))}
    )
    assert not near.node
    assert not mirrored.node


@pytest.mark.parametrize(
    "change",
    [
        ImageOps.mirror,
        lambda image: crop(ImageOps.mirror(image), 5, 5, 0, 5),
        lambda image: ImageOps.autocontrast(ImageOps.mirror(image)),
        lambda image: image.transpose(Image.Transpose.ROTATE_90),
        lambda image: image.transpose(Image.Transpose.ROTATE_180),
        lambda image: crop(image.transpose(Image.Transpose.ROTATE_270), 5, 5, 0, 5),
    ],
    ids=["mirrored", "cropped", "more contrast", "turned", "upside down", "turned and cropped"],
)
def test_a_mirrored_or_turned_copy_is_linked_in_a_graph_of_its_own(originals, change):
    copies = {
        f"{n} changed": file_features(encoded(change(image), "JPEG", quality=80))
        for n, image in enumerate(SCENES)
    }
    near, mirrored = find_near_images(originals | copies)
    assert not near.node
    assert mirrored.kind == "mirrored"
    for name in originals:
        assert mirrored.neighbors[mirrored.node[name]] == (mirrored.node[f"{name} changed"],)


def test_copies_of_a_symmetric_image_are_not_mirror_images():
    half = scene(1, (80, 60))
    whole = Image.new("RGB", (160, 60))
    whole.paste(half, (0, 0))
    whole.paste(ImageOps.mirror(half), (80, 0))
    near, mirrored = find_near_images(
        {quality: file_features(encoded(whole, "JPEG", quality=quality)) for quality in (95, 40)}
    )
    assert len(near.node) == 2
    assert not mirrored.node


def test_drawings_of_one_species_and_images_without_contrast_are_not_linked():
    kinds = categories(36)
    drawings = {
        f"{kind}/{number}": file_features(draw(kinds[kind], number, size=64).encoded())
        for kind in (0, 1, 2, 20, 21)
        for number in range(40)
    }
    plain = [Image.new("RGB", (90, 60), (shade, 90, 40)) for shade in range(9)]
    plain = {str(shade): perceptual_features(image) for shade, image in enumerate(plain)}
    assert not any(graph.node for graph in find_near_images(drawings | plain))


def test_images_with_equal_features_share_a_node():
    same = perceptual_features(scene(1))
    near, _ = find_near_images({"a": same, "b": same, "c": perceptual_features(scene(2)), "d": ""})
    assert near.node == {"a": 0, "b": 0}
    assert near.neighbors == {0: (0,)}


def test_a_thousand_nearly_equal_frames_are_not_compared_pairwise(monkeypatch):
    still = np.asarray(scene(4, (96, 64)).convert("L")).astype(int)
    noise = np.random.default_rng(0)
    frames = {
        str(number): perceptual_features(
            Image.fromarray((still + noise.integers(-3, 4, still.shape)).clip(0, 255).astype("u1"))
        )
        for number in range(1000)
    }
    compared = []
    monkeypatch.setattr(
        "fdrd.images.perceptual.alike", lambda a, b: compared.append(len(a)) or alike(a, b)
    )
    near, _ = find_near_images(frames)
    assert len(near.node) == 1000
    assert len(near.neighbors) + sum(compared) < 5000  # of 499,500 pairs


def test_table_entries_are_not_close_to_a_rounding_boundary():
    places = (np.arange(perceptual.SIZE) + 0.5) / perceptual.SIZE
    exact = perceptual._waves(places, perceptual.BAND) * 1024
    assert np.abs(exact - np.floor(exact) - 0.5).min() > 1e-6


def test_the_features_of_a_known_image_do_not_change():
    """All machines must agree, because features are integers."""
    image = Image.fromarray(
        (np.add.outer(np.arange(96) * 2, np.arange(96)) % 256).astype(np.uint8), "L"
    )
    (spectrum,) = spectra(unpack([perceptual_features(image)]))
    assert int(hashes(spectrum[None])[0]) == 10531764130533431989
    assert contrast(spectrum[None])[0] == pytest.approx(59.196662417080695, abs=1e-9)
    assert alike(spectrum[None], spectrum[None]).all()


@pytest.mark.parametrize(("seed", "distance", "expected"), [(5, 4, True), (2, 10, False)])
def test_an_image_with_a_pasted_patch_is_alike_only_if_the_hashes_are_near(
    seed, distance, expected
):
    """Without the bound on the hashes, related motorbikes in one pose would count as edited copies."""
    random = np.random.default_rng(seed)
    field = Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8))
    image = field.resize((128, 128), Image.Resampling.BICUBIC)
    x, y = (int(place) for place in random.integers(0, 90, 2))
    edited = image.copy()
    edited.paste(255, (x, y, x + 38, y + 38))
    one, other = spectra(unpack([perceptual_features(each) for each in (image, edited)]))
    assert np.bitwise_count(hashes(one[None]) ^ hashes(other[None])) == distance
    assert alike(one[None], other[None]) == alike(other[None], one[None]) == expected
