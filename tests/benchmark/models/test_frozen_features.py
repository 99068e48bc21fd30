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
from tests.running import run_method


def encode(backbone, dataset):
    return (
        backbone.encode_image(Images.of(dataset)).pooled,
        backbone.encode_text(dataset.captions).pooled,
    )


def fill(make_clip, root, dataset, seed=0):
    frozen = FrozenFeatures(root)
    features = encode(make_clip(frozen, seed), dataset)
    frozen.flush()
    return features


def test_cached_features_need_no_tower_and_no_image_file(
    make_clip, tiny_dataset, tmp_path, monkeypatch
):
    first = fill(make_clip, tmp_path, tiny_dataset["test"])
    backbone = make_clip(FrozenFeatures(tmp_path))
    monkeypatch.setattr(RetrievalDataset, "images", lambda *_: pytest.fail("an image was opened"))
    with counted(backbone) as seen:
        again = encode(backbone, tiny_dataset["test"])
    assert seen == {"images": 0, "captions": 0}
    plain = make_clip()
    monkeypatch.undo()
    for one, other, computed in zip(first, again, encode(plain, tiny_dataset["test"]), strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, computed)


def test_another_order_or_subset_hits_the_cache(make_clip, tiny_dataset, tmp_path):
    images, texts = fill(make_clip, tmp_path, tiny_dataset["test"])
    rows = [5, 3, 17]
    backbone = make_clip(FrozenFeatures(tmp_path))
    with counted(backbone) as seen:
        some = encode(backbone, tiny_dataset["test"].select(rows))
    assert seen == {"images": 0, "captions": 0}
    assert torch.equal(some[0], images[rows])
    assert torch.equal(some[1], texts[rows])


@pytest.mark.parametrize(("split", "seed", "images"), [("train", 0, 0), ("test", 1, 24)])
def test_only_new_items_and_those_of_other_weights_are_computed(
    make_clip, tiny_dataset, tmp_path, split, seed, images
):
    """The drawings of both splits are the same files, the captions differ in one word."""
    fill(make_clip, tmp_path, tiny_dataset["test"])
    backbone = make_clip(FrozenFeatures(tmp_path), seed=seed)
    with counted(backbone) as seen:
        encode(backbone, tiny_dataset[split])
    assert seen == {"images": images, "captions": 24}


def test_prompts_and_token_features_bypass_the_cache(make_clip, tiny_dataset, tmp_path):
    fill(make_clip, tmp_path, tiny_dataset["test"])
    backbone = make_clip(FrozenFeatures(tmp_path))
    captions, images = tiny_dataset["test"].captions, Images.of(tiny_dataset["test"])
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
def test_a_damaged_file_is_computed_again(make_clip, tiny_dataset, tmp_path, damage, kind):
    first = fill(make_clip, tmp_path, tiny_dataset["test"])
    for file in tmp_path.glob(f"*/image/*.{kind}"):
        damage(file)
    backbone = make_clip(FrozenFeatures(tmp_path))
    with counted(backbone) as seen:
        again = encode(backbone, tiny_dataset["test"])
    assert seen == {"images": 24, "captions": 0}
    assert torch.equal(first[0], again[0])


def test_a_cache_file_of_another_backbone_is_ignored(make_clip, tiny_dataset, tmp_path):
    """The folder of one fingerprint was copied to another."""
    fill(make_clip, tmp_path, tiny_dataset["test"])
    (folder,) = tmp_path.iterdir()
    other = make_clip(FrozenFeatures(tmp_path), seed=1)
    folder.rename(tmp_path / other.fingerprint)
    with counted(other) as seen:
        encode(other, tiny_dataset["test"])
    assert seen == {"images": 24, "captions": 24}


def test_features_are_written_during_a_long_run(make_clip, tiny_dataset, tmp_path):
    """A killed run loses only the features since the last file."""
    backbone = make_clip(FrozenFeatures(tmp_path, every=10))
    images = Images.of(tiny_dataset["test"])
    for start in range(0, 24, 4):
        backbone.encode_image(images[start : start + 4])
    again = make_clip(FrozenFeatures(tmp_path))
    with counted(again) as seen:
        again.encode_image(images)
    assert seen["images"] == 0  # written as 12 and 12


def test_autocast_does_not_reach_cached_features(make_clip, tiny_dataset, tmp_path):
    """Training in bfloat16 must not cache imprecise features for a later float32 run."""
    images = Images.of(tiny_dataset["test"])
    exact = make_clip().encode_image(images).pooled
    with step_numerics("bfloat16"):
        cached = make_clip(FrozenFeatures(tmp_path)).encode_image(images).pooled
    assert torch.equal(cached, exact)


def test_coop_encodes_each_image_once(make_clip, tiny_dataset, tmp_path):
    """All three splits hold the same 24 drawings, so five epochs and the test encode 24 images."""

    backbone = make_clip(FrozenFeatures(tmp_path))
    with counted(backbone) as seen:
        run_method(
            "coop", tiny_dataset, backbone=backbone, options={"n_ctx": 4}, train={"epochs": 5}
        )
    assert seen["images"] == 24
    assert seen["captions"] > 5 * 24


def test_a_cache_that_cannot_be_written_is_a_warning(make_clip, tiny_dataset, tmp_path, caplog):
    (tmp_path / "file").write_text("no folder")
    features = fill(make_clip, tmp_path / "file/features", tiny_dataset["test"])
    assert "features are not cached" in caplog.text
    assert torch.equal(features[0], fill(make_clip, tmp_path / "other", tiny_dataset["test"])[0])
