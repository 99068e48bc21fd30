"""A frozen tower encodes each item once, and invalid cache files are ignored."""

import json
from itertools import product
from pathlib import Path

import pytest
import torch

from benchmark.models.backbone import Prompts
from benchmark.models.frozen_features import FrozenFeatures
from benchmark.models.image_batches import Images
from benchmark.models.processes import step_numerics
from fdrd.dataset import RetrievalDataset
from tests.encoding import counted


def encode(backbone, dataset):
    return (
        backbone.encode_image(Images.of(dataset)).pooled,
        backbone.encode_text(dataset.captions).pooled,
    )


def fill(make_clip, root, dataset):
    frozen = FrozenFeatures(root)
    features = encode(make_clip(frozen), dataset)
    frozen.flush()
    return features


@pytest.fixture
def dataset(tiny_dataset):
    return tiny_dataset["test"]


@pytest.fixture
def filled(make_clip, dataset, tmp_path):
    """Features of the test split, which are cached."""
    return fill(make_clip, tmp_path, dataset)


@pytest.fixture
def again(make_clip, tmp_path):
    """Return a function that encodes with the cache, for the features and how many were computed."""

    def again(dataset, seed=0):
        with counted(clip := make_clip(FrozenFeatures(tmp_path), seed)) as seen:
            features = encode(clip, dataset)
        return features, (seen["images"], seen["captions"])

    return again


@pytest.mark.parametrize("rows", [range(24), [5, 3, 17]], ids=["all", "some"])
def test_cached_features_need_no_tower_and_no_image_file(
    filled, again, tiny_clip, dataset, monkeypatch, rows
):
    computed = encode(tiny_clip, dataset)
    monkeypatch.setattr(RetrievalDataset, "images", lambda *_: pytest.fail("an image was opened"))
    found, count = again(dataset.select(rows))
    assert count == (0, 0)
    for one, other, exact in zip(filled, found, computed, strict=True):
        assert torch.equal(one[list(rows)], other)
        assert torch.equal(one, exact)


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(("split", "seed", "images"), [("train", 0, 0), ("test", 1, 24)])
def test_only_new_items_and_those_of_other_weights_are_computed(
    again, tiny_dataset, split, seed, images
):
    """The drawings of both splits are the same files, the captions differ in one word."""
    assert again(tiny_dataset[split], seed)[1] == (images, 24)


@pytest.mark.usefixtures("filled")
def test_prompts_and_token_features_bypass_the_cache(make_clip, dataset, tmp_path):
    backbone = make_clip(FrozenFeatures(tmp_path))
    captions, images = dataset.captions, Images.of(dataset)
    text = Prompts(text=[torch.zeros(1, backbone.text_width)])
    vision = Prompts(vision=[torch.zeros(1, backbone.vision_width)])
    with counted(backbone) as seen:
        backbone.encode_text(captions, text)
        backbone.encode_text(captions, tokens=True)
        backbone.encode_image(images, vision)
        backbone.encode_image(images, tokens=True)
        backbone.encode_image(images, text)
    assert seen == {"images": 48, "captions": 48}


def test_the_cache_key_of_a_caption_includes_the_reserve(make_clip, tmp_path):
    backbone = make_clip(FrozenFeatures(tmp_path))
    long = ["red " * 20 + "cat dog"]
    whole = backbone.encode_text(long).pooled
    assert not torch.equal(backbone.encode_text(long, reserve=8).pooled, whole)


def flip_a_byte(file):
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))


def cut_in_half(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def drop_a_key(file):
    said = json.loads(file.read_text())
    file.write_text(json.dumps({**said, "keys": said["keys"][1:]}))


DAMAGES = [*product((flip_a_byte, cut_in_half, Path.unlink), ("npy", "json")), (drop_a_key, "json")]


@pytest.mark.parametrize(("damage", "kind"), DAMAGES)
def test_a_damaged_file_is_computed_again(filled, again, dataset, tmp_path, damage, kind):
    for file in tmp_path.glob(f"*/image/*.{kind}"):
        damage(file)
    (images, _), count = again(dataset)
    assert count == (24, 0)
    assert torch.equal(filled[0], images)


@pytest.mark.usefixtures("filled")
def test_a_cache_file_of_another_backbone_is_ignored(make_clip, again, dataset, tmp_path):
    """The folder of one fingerprint was copied to another."""
    (folder,) = tmp_path.iterdir()
    folder.rename(tmp_path / make_clip(seed=1).fingerprint)
    assert again(dataset, seed=1)[1] == (24, 24)


def test_features_are_written_during_a_long_run(make_clip, again, dataset, tmp_path):
    """A killed run loses only the features since the last file."""
    backbone = make_clip(FrozenFeatures(tmp_path, every=10))
    for start in range(0, 24, 4):
        backbone.encode_image(Images.of(dataset)[start : start + 4])
    assert again(dataset)[1] == (0, 24)  # written as 12 and 12


def test_autocast_does_not_reach_cached_features(tiny_clip, make_clip, dataset, tmp_path):
    """Training in bfloat16 must not cache imprecise features for a later float32 run."""
    with step_numerics("bfloat16"):
        cached = make_clip(FrozenFeatures(tmp_path)).encode_image(Images.of(dataset)).pooled
    assert torch.equal(cached, tiny_clip.encode_image(Images.of(dataset)).pooled)


def test_a_cache_that_cannot_be_written_is_a_warning(
    make_clip, tiny_clip, dataset, tmp_path, caplog
):
    (tmp_path / "file").write_text("no folder")
    features = fill(make_clip, tmp_path / "file/features", dataset)
    assert "features are not cached" in caplog.text
    assert torch.equal(features[0], encode(tiny_clip, dataset)[0])
