"""Search returns the best items of the full score matrix and encodes each image once."""

import pytest
import torch

from benchmark import FrozenFeatures, Images, search
from benchmark.checkpoint import find_checkpoint, untrained_method
from fdrd.errors import FdrdError

QUERY = "a big red circle on the left"


@pytest.fixture
def method(tiny_clip):
    return untrained_method("zero_shot", tiny_clip)


@pytest.fixture
def trained(bench):
    return bench.coop.with_suffix(".safetensors")


@torch.no_grad()
def test_a_text_finds_the_images_of_all_splits_that_score_highest(method, tiny_dataset):
    splits = list(tiny_dataset.values())
    text = method.encode_text([QUERY])
    wanted = []
    for view in splits:
        scores = method.similarity(method.encode_image(Images.of(view)), text)[:, 0]
        wanted += [(s, view.split, n) for n, s in enumerate(scores.tolist())]
    wanted.sort(key=lambda found: -found[0])
    hits = search(splits, QUERY, method=method, k=7)
    assert [hit.rank for hit in hits] == list(range(1, 8))
    for hit, (score, split, number) in zip(hits, wanted, strict=False):
        assert hit.score == pytest.approx(score, abs=1e-6)
        assert hit.split == split
        assert hit.record["source"]["sha256"] == tiny_dataset[split].image_digests[number]


@torch.no_grad()
def test_an_image_finds_captions(method, tiny_dataset):
    view = tiny_dataset["test"]
    (image,) = view.images([5])
    texts = method.encode_text(view.captions)
    scores = method.similarity(method.encode_image([image]), texts)[0]
    order = scores.argsort(descending=True, stable=True)[:3].tolist()
    hits = search([view], image, method=method, k=3)
    assert [hit.record["caption"] for hit in hits] == [view.captions[number] for number in order]


def test_k_above_the_size_returns_everything(method, tiny_dataset):
    hits = search([tiny_dataset["test"]], QUERY, method=method, k=1000)
    assert sorted(hit.record["id"] for hit in hits) == sorted(tiny_dataset["test"].ids)


def test_equal_scores_keep_the_order_of_the_dataset(method, tiny_dataset, monkeypatch):
    view = tiny_dataset["test"]
    monkeypatch.setattr(method, "similarity", lambda *each: torch.zeros(*map(len, each)))
    hits = search([view], QUERY, method=method, k=4)
    assert [hit.record["id"] for hit in hits] == view.ids[:4]


def test_a_second_search_encodes_no_image(make_clip, tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.dataset_search.load_splits", lambda *_: [tiny_dataset["test"]])
    encoded = []
    found = []
    for query in (QUERY, "a cat"):
        clip = make_clip(frozen=FrozenFeatures(tmp_path))
        clip.model.vision_model.register_forward_hook(lambda *_: encoded.append(1))
        found.append(search("drawn", query, backbone=clip))
        assert len(encoded) == 2  # 24 images, 16 at a time
    assert found[0] != found[1]


def test_invalid_searches_are_errors(method, tiny_clip, tiny_dataset):
    with pytest.raises(FdrdError, match="the query is empty"):
        search([tiny_dataset["test"]], "  ", method=method)
    with pytest.raises(FdrdError, match=r"coop needs training: .*`checkpoint`"):
        untrained_method("coop", tiny_clip)


def test_a_checkpoint_is_found_as_a_file_or_in_a_folder(trained, tmp_path):
    assert find_checkpoint(trained) == trained
    (tmp_path / "model.safetensors").write_bytes(trained.read_bytes())
    assert find_checkpoint(str(tmp_path)) == tmp_path / "model.safetensors"
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FdrdError, match=r"holds no model\.safetensors"):
        find_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        *(
            (spec, r"no checkpoint .*as ORG/NAME")
            for spec in ("runs/coop.safetensors", "./none", "a/b/c", "https://hub/a/b", "org/../b")
        ),
        ("org/name@v1", "no checkpoint org/name@v1: no such file, and the Hub"),
    ],
)
def test_a_checkpoint_that_is_not_found_is_an_error(spec, message):
    with pytest.raises(FdrdError, match=message):
        find_checkpoint(spec)
