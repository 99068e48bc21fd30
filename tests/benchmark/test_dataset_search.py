"""Search returns the best items of the full score matrix and encodes each image once."""

import pytest
import torch

from benchmark import Features, FrozenFeatures, Images, search
from benchmark.checkpoint import find_checkpoint, load_method, untrained_method
from benchmark.registry import make_method
from benchmark.settings import Named
from fdrd.errors import FdrdError
from tests.running import made_settings, run_method

QUERY = "a big red circle on the left"


@pytest.fixture
def zero_shot(tiny_clip):
    return untrained_method("zero_shot", tiny_clip)


@pytest.fixture(scope="module")
def trained(tiny_clip, tiny_dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    run_method(
        "coop",
        tiny_dataset,
        backbone=tiny_clip,
        results=folder,
        options={"n_ctx": 4},
        train={"epochs": 1, "batch_size": 8},
    )
    (checkpoint,) = folder.glob("*.safetensors")
    return checkpoint


@torch.no_grad()
def test_a_text_finds_the_images_of_all_splits_that_score_highest(zero_shot, tiny_dataset):
    splits = list(tiny_dataset.values())
    text = zero_shot.encode_text([QUERY])
    wanted = []
    for view in splits:
        scores = zero_shot.similarity(zero_shot.encode_image(Images.of(view)), text)[:, 0]
        wanted += [(s, view.split, n) for n, s in enumerate(scores.tolist())]
    wanted.sort(key=lambda found: -found[0])
    hits = search(splits, QUERY, method=zero_shot, k=7)
    assert [hit.rank for hit in hits] == list(range(1, 8))
    for hit, (score, split, number) in zip(hits, wanted, strict=False):
        assert hit.score == pytest.approx(score, abs=1e-6)
        assert hit.split == split
        assert hit.record["source"]["sha256"] == tiny_dataset[split].image_digests[number]


@torch.no_grad()
def test_an_image_finds_captions(zero_shot, tiny_dataset):
    view = tiny_dataset["test"]
    (image,) = view.images([5])
    scores = zero_shot.similarity(
        zero_shot.encode_image([image]), zero_shot.encode_text(view.captions)
    )[0]
    hits = search([view], image, method=zero_shot, k=3)
    order = scores.argsort(descending=True, stable=True)[:3].tolist()
    assert [hit.record["caption"] for hit in hits] == [view.captions[number] for number in order]


def test_k_above_the_size_returns_everything(zero_shot, tiny_dataset):
    hits = search([tiny_dataset["test"]], QUERY, method=zero_shot, k=1000)
    assert sorted(hit.record["id"] for hit in hits) == sorted(tiny_dataset["test"].ids)


class Constant:
    """Scores everything equally."""

    trains = "nothing"
    learner = None

    def fit(self, *_):
        raise NotImplementedError

    def encode_image(self, images):
        numbers = images.numbers if isinstance(images, Images) else range(len(images))
        return Features(torch.tensor([[float(number)] for number in numbers]))

    def encode_text(self, captions):
        return Features(torch.zeros(len(captions), 1))

    def similarity(self, images, texts):
        return torch.zeros(len(images), len(texts))


def test_equal_scores_keep_the_order_of_the_dataset(tiny_dataset):
    view = tiny_dataset["test"]
    hits = search([view], QUERY, method=Constant(), k=4)
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


@torch.no_grad()
def test_a_checkpoint_searches_as_the_method_that_was_trained(tiny_clip, tiny_dataset, trained):
    """Its learned context is prepended to the query, so scores differ from zero-shot."""
    view = tiny_dataset["test"]
    method = load_method(trained, backbone=tiny_clip)
    hits = search([view], QUERY, method=method, k=3)
    plain = search([view], QUERY, backbone=tiny_clip, k=3)
    assert [hit.score for hit in hits] != [hit.score for hit in plain]
    text = method.encode_text([QUERY])
    best = method.similarity(method.encode_image(Images.of(view)), text).max()
    assert hits[0].score == pytest.approx(best.item(), abs=1e-6)


def test_invalid_searches_are_errors(zero_shot, tiny_clip, tiny_dataset):
    with pytest.raises(FdrdError, match="the query is empty"):
        search([tiny_dataset["test"]], "  ", method=zero_shot)
    with pytest.raises(FdrdError, match=r"coop needs training: .*`checkpoint`"):
        untrained_method("coop", tiny_clip)


def test_a_checkpoint_of_another_backbone_is_an_error(make_clip, trained):
    with pytest.raises(FdrdError, match="was trained on tiny with fingerprint"):
        load_method(trained, backbone=make_clip(seed=1))


def test_a_checkpoint_is_found_as_a_file_or_in_a_folder(trained, tmp_path):
    assert find_checkpoint(trained) == trained
    (tmp_path / "model.safetensors").write_bytes(trained.read_bytes())
    assert find_checkpoint(str(tmp_path)) == tmp_path / "model.safetensors"
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FdrdError, match=r"holds no model\.safetensors"):
        find_checkpoint(tmp_path)
    for spec in ("runs/coop.safetensors", "./nothing", "a/b/c", "https://hub/a/b", "org/../b"):
        with pytest.raises(FdrdError, match=r"no checkpoint .*as ORG/NAME"):
            find_checkpoint(spec)


def test_an_offline_hub_is_an_error():
    with pytest.raises(FdrdError, match="no checkpoint org/name@v1: no such file, and the Hub"):
        find_checkpoint("org/name@v1")


def test_an_unregistered_method_is_named(trained, tiny_clip):
    from benchmark.checkpoint import save_checkpoint

    settings = made_settings("theirs", Named("tiny", tiny_clip.fingerprint))
    learner = make_method("coop", {"n_ctx": 4}, backbone=tiny_clip, seed=0).learner
    path = trained.with_name("theirs.safetensors")
    save_checkpoint(path, learner, settings)
    try:
        with pytest.raises(FdrdError, match="no method 'theirs'"):
            load_method(path, backbone=tiny_clip)
    finally:
        path.unlink()
