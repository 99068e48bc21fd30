"""Each filter rejects with its reason, and leak filters do not depend on the order of records."""

import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image, ImageEnhance, ImageFilter

from fdrd.build_config import BuildConfig
from fdrd.curation.decide import (
    good_images,
    unique_ids,
    unique_pairs,
    within_limits,
    within_tokens,
    without_visible_flaws,
)
from fdrd.curation.splitting import (
    no_caption_in_two_splits,
    no_group_in_two_splits,
    no_image_in_two_splits,
)
from fdrd.images.check import ImageCheck, check_image_bytes
from fdrd.reasons import Rejection, resolve
from fdrd.record import ImageRef, Record, Source
from fdrd.text.tokens import TokenLengths
from tests.curated import curated
from tests.scenes import encoded, scene

DEFAULTS = resolve({})


def pair(name, image="a", caption="A cat.", split="train"):
    source = Source(f"{name}.jpg", sha256=image, origin=f"x.json: {name}")
    return Record(name, ImageRef(f"{name}.jpg"), caption, "cat", source, split=split)


def rejections(found):
    return [(item.key, item.reason) for item in found if isinstance(item, Rejection)]


def test_later_records_with_the_same_id_are_rejected():
    duplicate = ("1", "duplicate_id")
    assert rejections(curated(unique_ids, [pair("1"), pair("2"), pair("1")])) == [duplicate]
    assert rejections(curated(unique_ids, [pair("1")] * 3)) == [duplicate] * 2


def test_a_bad_image_rejects_its_record_and_a_good_one_adds_its_size():
    checks = {
        ImageRef("1.jpg"): ImageCheck("d" * 64, 10, 3, 4),
        ImageRef("2.jpg"): ImageCheck(reason="not_an_image"),
    }
    records = [pair("1"), replace(pair("1"), group="clip"), pair("2")]
    found = curated(good_images, records, checks=checks)
    assert rejections(found) == [("2", "not_an_image")]
    assert (found[0].width, found[0].height) == (3, 4)
    assert [item.group for item in found[:2]] == ["d" * 16, "clip"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda image: image, ""),
        (lambda image: image.resize((40, 30)), ""),
        (lambda image: Image.new("RGB", image.size, "navy"), "image_uniform"),
        (lambda image: ImageEnhance.Contrast(image).enhance(0.2), "image_low_contrast"),
        (lambda image: image.filter(ImageFilter.GaussianBlur(24)), "image_blurred"),
    ],
    ids=["good", "small", "uniform", "faint", "blurred"],
)
def test_visible_flaws_are_reported_or_dropped(change, reason):
    checks = {ImageRef("1.jpg"): check_image_bytes(encoded(change(scene(3))), 10**6)}
    (kept,) = curated(without_visible_flaws, [pair("1")], DEFAULTS, checks=checks)
    assert kept.rules == ((reason,) if reason else ())
    if reason:
        dropping = resolve({reason: "drop"})
        found = curated(without_visible_flaws, [pair("1")], dropping, checks=checks)
        assert rejections(found) == [("1", reason)]


LIMITS = BuildConfig(max_pixels=300, min_side=10, max_aspect=2, max_caption=6)


@pytest.mark.parametrize(
    ("size", "caption", "reason"),
    [
        ((15, 20), "A cat.", ""),
        ((15, 21), "A cat.", "image_too_large"),
        ((10, 20), "A cat.", ""),
        ((9, 18), "A cat.", "image_too_small"),
        ((18, 9), "A cat.", "image_too_small"),
        ((10, 21), "A cat.", "image_too_narrow"),
        ((21, 10), "A cat.", "image_too_narrow"),
        ((15, 20), "A cat!?", "caption_too_long"),
        ((15, 20), "A", ""),
        ((15, 20), "", "caption_missing"),
    ],
)
def test_what_is_at_a_limit_is_kept_and_what_is_beyond_is_rejected(size, caption, reason):
    record = replace(pair("1", caption=caption), width=size[0], height=size[1])
    found = rejections(curated(within_limits, [record], LIMITS))
    assert found == ([("1", reason)] if reason else [])


def test_a_caption_may_have_as_many_tokens_as_the_tower_reads():
    lengths = TokenLengths("words", 5, np.array([4, 5, 6], np.int32))
    dropping = resolve({"caption_over_tokens": "drop"})
    found = curated(within_tokens, [pair("1"), pair("2"), pair("3")], lengths, dropping)
    assert rejections(found) == [("3", "caption_over_tokens")]


def test_an_image_stays_in_the_split_of_the_highest_rank():
    records = [
        pair("1", "a", split="train"),
        pair("2", "a", split="test"),
        pair("3", "a", split="validation"),
        pair("4", "b", split="train"),
    ]
    wanted = {("1", "image_in_other_split"), ("3", "image_in_other_split")}
    assert set(rejections(curated(no_image_in_two_splits, records, DEFAULTS))) == wanted
    assert set(rejections(curated(no_image_in_two_splits, records[::-1], DEFAULTS))) == wanted


def test_the_same_image_with_the_same_caption_is_one_pair():
    records = [
        pair("1"),
        pair("2", caption="a CAT."),
        pair("3", caption="Another."),
        pair("4", "b"),
    ]
    assert rejections(curated(unique_pairs, records, DEFAULTS)) == [("2", "duplicate_pair")]


def test_a_caption_in_two_splits_is_reported_unless_the_policy_drops_it():
    records = [
        pair("1", "a", split="train"),
        pair("2", "b", split="train"),
        pair("3", "c", caption="a cat.", split="test"),
        pair("4", "d", caption="Another.", split="test"),
    ]
    kept = list(curated(no_caption_in_two_splits, records, DEFAULTS))
    assert [record.rules for record in kept] == [("caption_in_other_split",)] * 2 + [()] * 2
    dropping = resolve({"caption_in_other_split": "drop"})
    assert rejections(curated(no_caption_in_two_splits, records, dropping)) == [
        ("1", "caption_in_other_split"),
        ("2", "caption_in_other_split"),
    ]


def test_a_group_stays_in_the_split_of_the_highest_rank_of_its_domain():
    clip = [
        replace(pair(name, name, split=split), group="clip", domain="videos")
        for name, split in (("0", "train"), ("1", "test"))
    ]
    elsewhere = replace(clip[0], id="2", domain="others")
    found = rejections(curated(no_group_in_two_splits, [*clip, elsewhere], DEFAULTS))
    assert found == [("0", "group_in_other_split")]


def test_records_that_the_policy_keeps_carry_the_reason():
    records = [pair("1", "a", split="train"), pair("2", "a", split="test")]
    keeping = resolve({"image_in_other_split": "keep"})
    (train, test) = curated(no_image_in_two_splits, records, keeping)
    assert (train.id, train.rules) == ("1", ("image_in_other_split",))
    assert (test.id, test.rules) == ("2", ())
