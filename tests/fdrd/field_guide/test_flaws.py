"""Planted flaws: each ends where a user will look for it."""

import json
from collections import Counter

import datasets
import pytest

from fdrd.build_config import BuildConfig
from fdrd.checks.flaws import caption_flaws
from fdrd.commands.build import tokens_of
from fdrd.errors import FdrdError
from fdrd.field_guide import sample, splits
from fdrd.field_guide.flaws import FLAWS
from fdrd.pipeline.builder import build
from tests.folders import digests

SMALL = {"categories": 8, "pairs": 192, "size": 64, "workers": 1}

REJECTED = {
    "image_broken": 2,
    "not_an_image": 1,
    "image_missing": 1,
    "path_outside": 1,
    "caption_missing": 3,
    "unreadable_annotations": 1,
    "image_too_small": 1,
    "image_too_narrow": 1,
    "caption_too_long": 1,
    "duplicate_pair": 2,
    "image_in_other_split": 2,
    "near_image_in_other_split": 2,
    "mirrored_image_in_other_split": 1,
    "group_in_other_split": 1,
}
REPORTED = {
    "near_image_in_split": 2,
    "mirrored_image_in_split": 1,
    "image_uniform": 1,
    "image_blurred": 1,
    "caption_over_tokens": 1,
    "caption_in_other_split": 1,
}
FLAGGED = {
    ("wrong category", "category_not_named"): 2,
    ("caption names another category", "category_not_named"): 2,
    ("refusal as caption", "category_not_named"): 1,
    ("caption over 77 tokens", "too_long"): 1,
    ("doubled word", "doubled_word"): 1,
    ("no full stop", "no_full_stop"): 1,
}


@pytest.fixture(scope="module")
def flawed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flawed")
    assert sample(folder / "raw", **SMALL, flawed=True)
    build(
        folder / "raw", folder / "data", config=BuildConfig(backbone="embedded"), tokens=tokens_of
    )
    return folder


def manifest(folder):
    return json.loads((folder / "data" / "manifest.json").read_text())


def test_each_planted_flaw_is_rejected_or_reported(flawed):
    found = manifest(flawed)
    assert found["rejected"] == REJECTED
    assert REPORTED.items() <= found["reported"].items()
    assert found["reported"]["image_low_contrast"] >= 1  # some drawings are dark, too
    added = sum(name.startswith(("same", "test", "recompressed", "mirrored")) for name, _ in FLAWS)
    read, rejected = SMALL["pairs"] + added, sum(REJECTED.values())
    assert found["records"] == {"read": read, "kept": read - rejected, "rejected": rejected}


def test_kept_flaws_are_named_and_flagged(flawed):
    rows = datasets.load_dataset(str(flawed / "data"), split="train", cache_dir=str(flawed / "c"))
    names = rows.features["category"]
    flags = Counter(
        (row["planted"], flag)
        for row in rows.remove_columns("image")
        if row["planted"]
        for flag in caption_flaws(row["caption"], names.int2str(row["category"]).split(": ")[-1])
    )
    assert flags == FLAGGED
    assert {name for name in rows["planted"] if name} <= {name for name, _ in FLAWS}


def test_test_and_validation_images_stay_as_they_were_drawn(flawed, tmp_path):
    sample(tmp_path / "raw", **SMALL)
    for split in ("test", "validation"):
        assert digests(flawed / "raw" / split) == digests(tmp_path / "raw" / split)
    kept = datasets.load_dataset(str(flawed / "data"), split="test", cache_dir=str(tmp_path / "c"))
    assert len(kept) == SMALL["pairs"] // 24 * splits(24).count("test")


def test_planting_is_the_same_with_any_number_of_workers(flawed, tmp_path):
    sample(tmp_path / "raw", **SMALL | {"workers": 2}, flawed=True)
    assert digests(tmp_path / "raw") == digests(flawed / "raw")


def test_too_few_images_for_the_flaws_are_refused(tmp_path):
    with pytest.raises(FdrdError, match="flaws need more images"):
        sample(tmp_path / "raw", categories=2, pairs=16, size=32, workers=1, flawed=True)
