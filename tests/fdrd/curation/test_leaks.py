"""Leaks between splits are removed in any order, and near duplicates stay together."""

import json
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageOps

from fdrd.build_config import BuildConfig
from fdrd.checks.validation import validate
from fdrd.curation.near_duplicates import NearImages
from fdrd.curation.splitting import (
    assign_groups,
    assign_splits,
    no_near_image_in_a_split,
    no_near_image_in_two_splits,
)
from fdrd.dataset import load_view
from fdrd.pipeline.builder import build
from fdrd.reasons import Rejection, resolve
from fdrd.record import ImageRef, Record, Source
from fdrd.storage.manifest import RecordCounts
from tests.curated import curated
from tests.scenes import ORIGINAL, encoded, scene

DEFAULTS = resolve({})
DROPPING = resolve({"near_image_in_split": "drop"})


def pair(name, image, split="train", group="", side=10):
    source = Source(f"{image}.jpg", sha256=image * 16, origin=f"x.json: {name}")
    more = {"group": group, "split": split, "width": side, "height": side}
    return Record(name, ImageRef(f"{image}.jpg"), "A cat.", "cat", source, "d", **more)


def near(*pairs):
    """Link the images with these names."""
    names = sorted({name for pair in pairs for name in pair})
    neighbors = defaultdict(set)
    for one, other in pairs:
        neighbors[names.index(one)].add(names.index(other))
        neighbors[names.index(other)].add(names.index(one))
    node = {name * 16: number for number, name in enumerate(names)}
    return NearImages(node, {number: tuple(sorted(others)) for number, others in neighbors.items()})


def rejected(found):
    return sorted(item.key for item in found if isinstance(item, Rejection))


def test_a_near_duplicate_of_an_image_in_a_higher_split_is_rejected():
    records = [pair("1", "a"), pair("2", "b", "test"), pair("3", "c", "validation"), pair("4", "d")]
    links = near("ab", "bc")
    for order in (records, records[::-1]):
        assert rejected(curated(no_near_image_in_two_splits, order, links, DEFAULTS)) == ["1", "3"]


def test_an_image_is_kept_if_its_near_duplicate_is_rejected():
    """Image c of train is near b of validation only, and b is rejected because of a of test."""
    records = [pair("1", "a", "test"), pair("2", "b", "validation"), pair("3", "c")]
    links = near("ab", "bc")
    assert rejected(curated(no_near_image_in_two_splits, records, links, DEFAULTS)) == ["2"]
    keeping = resolve({"near_image_in_other_split": "keep"})
    kept = list(curated(no_near_image_in_two_splits, records, links, keeping))
    assert [bool(record.rules) for record in kept] == [False, True, True]


def test_images_with_equal_features_leak_but_an_image_is_not_near_itself():
    same = NearImages({"a" * 16: 0, "b" * 16: 0}, {0: (0,)})
    records = [pair("1", "a"), pair("2", "b", "test"), pair("3", "b")]
    assert rejected(curated(no_near_image_in_two_splits, records, same, DEFAULTS)) == ["1"]


def test_within_a_split_the_larger_near_duplicate_is_kept():
    records = [pair("1", "a", side=10), pair("2", "b", side=20), pair("3", "b", side=20)]
    records.append(pair("4", "c", "test"))
    links = near("ab", "bc")
    assert rejected(curated(no_near_image_in_a_split, records, links, DROPPING)) == ["1"]
    kept = list(curated(no_near_image_in_a_split, records[::-1], links, DEFAULTS))
    assert [record.id for record in kept if record.rules] == ["1"]


def test_near_duplicates_get_one_group_and_given_groups_are_kept():
    records = [pair("1", "a"), pair("2", "b"), pair("3", "c", group="clip"), pair("4", "d")]
    found = [item.group for item in curated(assign_groups, records, [near("ab", "bc", "xd")])]
    assert found == [f"near-{'a' * 16}", f"near-{'a' * 16}", "clip", "d" * 16]


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["", "u", "v"])), min_size=1),
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh")), max_size=6),
    st.integers(0, 3),
)
@settings(deadline=None, max_examples=40)
def test_a_hashed_split_keeps_groups_images_and_near_duplicates_together(drawn, links, seed):
    records = [pair(str(n), image, "", group) for n, (image, group) in enumerate(drawn)]
    links = near(*(link for link in links if len(set(link)) == 2))
    found = curated(assign_splits, records, [links], seed)
    splits = defaultdict(set)
    for record in found:
        for key in (record.source.sha256, record.group):
            splits[key].add(record.split)
    assert all(len(each) == 1 for each in splits.values())
    split_of = {record.source.sha256: record.split for record in found}
    for digest in set(split_of) & set(links.node):
        for near_node in links.neighbors[links.node[digest]]:
            for other in set(split_of) & {name for name, n in links.node.items() if n == near_node}:
                assert split_of[other] == split_of[digest]


def test_a_hashed_split_keeps_copies_together_and_reports_them(tmp_path, write):
    """20 scenes of two categories; the first ten also resized, cropped, and mirrored."""
    lines = []
    for number in range(20):
        image = scene(number)
        copies = {"": encoded(image, **ORIGINAL)}
        if number < 10:
            changed = {"small": image.resize((160, 120)), "cut": image.crop((6, 6, 314, 234))}
            changed["mirrored"] = ImageOps.mirror(image)
            copies |= {name: encoded(copy, "JPEG", quality=85) for name, copy in changed.items()}
        for name, data in copies.items():
            path = f"{('wren', 'robin')[number % 2]}/{number:02d}{name}.jpg"
            write(path, data)
            lines.append(json.dumps({"file_name": path, "caption": f"Scene {number} {name}."}))
    write("metadata.jsonl", "\n".join(lines))
    built = build(tmp_path / "raw", tmp_path / "out", workers=1)
    assert built.manifest.records == RecordCounts(50, 50, 0)
    reported = built.manifest.reported
    assert reported.keys() == {"near_image_in_split", "mirrored_image_in_split"}
    assert reported["near_image_in_split"] == 20
    assert reported["mirrored_image_in_split"] >= 10  # also of smaller copies
    assert list(validate(tmp_path / "out")) == []
    splits, families = defaultdict(set), defaultdict(set)
    for split in ("train", "validation", "test"):
        rows = load_view(tmp_path / "out", split)._rows
        for id_, group in zip(rows["id"], rows["group"], strict=True):
            family = id_.rpartition("/")[2][:2]
            splits[family].add(split)
            families[family].add(group)
    assert all(len(found) == 1 for found in splits.values())
    assert all(len(found) == 1 for found in families.values())
    assert all(next(iter(families[f"{n:02d}"])).startswith("near-") == (n < 10) for n in range(20))


def test_a_build_drops_copies_of_test_images_from_train_and_validation_finds_them(tmp_path, write):
    lines = []
    for number in range(12):
        for split in ("train", "test") if number < 8 else ("train",):
            image = scene(number)
            if split == "test":
                image = ImageOps.mirror(image) if number < 4 else image.resize((160, 120))
            path = f"{split}/wren/{number:02d}.jpg"
            write(path, encoded(image, "JPEG", quality=85))
            caption = f"Scene {number} of {split}."
            lines.append(json.dumps({"file_name": path, "caption": caption, "split": split}))
    write("metadata.jsonl", "\n".join(lines))
    built = build(tmp_path / "raw", tmp_path / "out", workers=1)
    mirrored, near = "mirrored_image_in_other_split", "near_image_in_other_split"
    assert built.manifest.rejected == {mirrored: 4, near: 4}
    details = [each.detail for each in built.rejected]
    assert "train/wren/00.jpg: is a mirrored or turned copy of test/wren/00.jpg of test" in details
    assert any("train/wren/04.jpg: looks like" in each for each in details)
    assert validate(tmp_path / "out", images=True) == []
    keeping = BuildConfig(policy={mirrored: "keep", near: "keep"})
    kept = build(tmp_path / "raw", tmp_path / "kept", config=keeping, workers=1)
    assert kept.manifest.reported == {mirrored: 4, near: 4}
    assert validate(tmp_path / "kept", images=True) == []
    path = tmp_path / "kept/manifest.json"
    path.write_text(path.read_text().replace('_other_split": "keep"', '_other_split": "drop"'))
    assert any("group of near-duplicate images" in each.what for each in validate(path.parent))
    found = [each.what for each in validate(path.parent, images=True)]
    assert sum("its image is a mirrored or turned copy of" in what for what in found) == 8
    assert sum("its image is a near duplicate of" in what for what in found) == 8


def test_a_changed_pixel_limit_applies_to_images_checked_earlier(birds, tmp_path):
    assert build(birds, tmp_path / "out", workers=1).manifest.records.rejected == 0
    strict = BuildConfig(max_pixels=24 * 16 - 1, policy={"image_too_large": "fail"})
    with pytest.raises(Exception, match="49 image_too_large"):
        build(birds, tmp_path / "out", config=strict, workers=1)
    loose = build(birds, tmp_path / "new", config=BuildConfig(max_pixels=24 * 16), workers=1)
    assert loose.manifest.records.rejected == 0
