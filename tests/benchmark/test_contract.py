"""The contract of every registered method. A new method is tested here automatically."""

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest
import torch

import benchmark
from benchmark import Images, TrainConfig, TrainContext
from benchmark.checkpoint import load_checkpoint, save_checkpoint
from benchmark.registry import get_method, method_names, takes
from benchmark.settings import Named
from benchmark.training.loop import batches
from benchmark.training.resumable import resumable
from fdrd.errors import FdrdError
from fdrd.kinds import kind_of
from tests.encoding import features
from tests.running import made_settings, run_method
from tests.small_methods import SMALL, parametrize_methods, small_options

TRAIN = TrainConfig(
    epochs=4, batch_size=8, learning_rate=0.02, schedule="constant", keep_untrained=False
)


def make(name, backbone, seed=0, train=TRAIN):
    filled = {"backbone": backbone, "seed": seed, "train": train}
    taken = {key: value for key, value in filled.items() if takes(name, key)}
    return get_method(name)(**small_options(name), **taken)


def learned(method):
    return [] if method.learner is None else list(method.learner.state_dict().values())


every_method = parametrize_methods(method_names())
every_learner = parametrize_methods(n for n in method_names() if takes(n, "train"))


@dataclass
class Trained:
    """A fitted method, its training log, and the tensors of the backbone before it was made."""

    method: Any
    log: Any
    before: dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def trained(name, tiny_clip, quick_dataset):
    """Each method, fitted once."""
    before = copy.deepcopy(tiny_clip.model.state_dict())
    method = make(name, tiny_clip)
    log = None
    if method.trains != "nothing":
        log = method.fit(quick_dataset["train"], quick_dataset["validation"])
    return Trained(method, log, before)


@every_method
def test_features_are_finite_and_of_unit_length(name, tiny_clip, tiny_dataset):
    for pooled in features(make(name, tiny_clip), tiny_dataset["test"]):
        assert pooled.shape == (24, pooled.shape[1])
        assert pooled.isfinite().all()
        assert (pooled.norm(dim=1) - 1).abs().max() < 1e-5


@every_method
def test_similarity_is_images_by_captions(name, tiny_clip, tiny_dataset):
    method, dataset = make(name, tiny_clip), tiny_dataset["test"]
    with torch.no_grad():
        images = method.encode_image(Images.of(dataset)[:5])
        scores = method.similarity(images, method.encode_text(dataset.captions[:3]))
    assert scores.shape == (5, 3)


@every_method
def test_rows_do_not_depend_on_batch_mates(name, tiny_clip, tiny_dataset):
    method, dataset = make(name, tiny_clip), tiny_dataset["test"]
    with torch.no_grad():
        images, texts = features(method, dataset)
        for row in (0, 11):
            alone = method.encode_image(Images.of(dataset)[[row]]).pooled
            assert (alone - images[row]).abs().max() < 1e-5
            alone = method.encode_text([dataset.captions[row]]).pooled
            assert (alone - texts[row]).abs().max() < 1e-5


@every_method
def test_text_features_come_from_captions_alone(name, tiny_clip, tiny_dataset):
    """The features are bitwise equal, whichever image was encoded before."""
    method, captions = make(name, tiny_clip), tiny_dataset["test"].captions
    with torch.no_grad():
        before = method.encode_text(captions).pooled
        method.encode_image(Images.of(tiny_dataset["test"])[:3])
        assert torch.equal(method.encode_text(captions).pooled, before)


@every_method
def test_fit_leaves_the_backbone_bitwise_as_it_was(trained, tiny_clip):
    after = tiny_clip.model.state_dict()
    assert all(torch.equal(before, after[key]) for key, before in trained.before.items())


@every_method
def test_learned_parameters_are_not_those_of_the_given_backbone(name, make_clip):
    """Where the backbone is trained, it is a part of a copy whose features it decides."""
    backbone = make_clip()
    method = make(name, backbone)
    assert (method.learner is None) == (method.trains == "nothing")
    mine = method.learner.parameters() if method.learner is not None else []
    theirs = {each.data_ptr() for each in backbone.model.parameters()}
    assert theirs.isdisjoint(each.data_ptr() for each in mine)
    if method.trains == "backbone":
        of_copy = {id(each) for each in method.backbone.model.modules()}
        assert all(id(each) in of_copy for each in method.learner.children())


@every_learner
def test_every_learned_parameter_changes(trained, name, tiny_clip):
    """Buffers may stay: what a method keeps of earlier epochs, where the first one was best."""
    fresh = make(name, tiny_clip)
    now = dict(trained.method.learner.named_parameters())
    for key, before in fresh.learner.named_parameters():
        assert not before.requires_grad or not torch.equal(before, now[key])


@every_learner
def test_the_loss_falls_and_the_best_epoch_is_kept(trained, name, tiny_clip, quick_dataset):
    """Trained again up to the best epoch, the same tensors come out."""
    log = trained.log
    assert min(epoch.loss for epoch in log.epochs[1:]) < log.epochs[0].loss
    scores = [epoch.validation_mrr for epoch in log.epochs]
    assert log.best_epoch == 1 + scores.index(max(scores))
    earlier = len(log.epochs) - TRAIN.epochs  # of a stage in which adapters train alone
    short = dataclasses.replace(TRAIN, epochs=log.best_epoch - earlier)
    again = make(name, tiny_clip, train=short)
    again.fit(quick_dataset["train"], quick_dataset["validation"])
    assert all(
        torch.equal(a, b) for a, b in zip(learned(trained.method), learned(again), strict=True)
    )


@every_learner
def test_a_killed_training_ends_with_the_same_tensors(
    name, make_clip, quick_dataset, tmp_path, monkeypatch
):
    """Killed in the second epoch. State outside the learner would be lost, and the test would fail."""
    monkeypatch.setattr(benchmark.training.loop, "EVERY", 0)
    train = dataclasses.replace(TRAIN, epochs=2, batch_size=12)

    def fitted(place, dies_at=None):
        def tell(stage, done, _total):
            if stage.startswith("train") and done == dies_at:
                raise RuntimeError("killed")

        frozen = benchmark.FrozenFeatures(tmp_path / place)
        method = make(name, make_clip(frozen), train=train)
        with resumable(tmp_path / f"{place}.safetensors", frozen.flush) as saved:
            context = TrainContext(tell, saved=saved)
            method.fit(quick_dataset["train"], quick_dataset["validation"], context)
        return method

    whole = fitted("whole")
    with pytest.raises(RuntimeError, match="killed"):
        fitted("killed", dies_at=4)
    assert (tmp_path / "killed.safetensors").is_file()
    resumed = fitted("killed")
    assert all(torch.equal(a, b) for a, b in zip(learned(whole), learned(resumed), strict=True))


@every_learner
def test_a_training_in_chunks_has_the_same_losses(name, tiny_clip, quick_dataset):
    def losses(size):
        train = dataclasses.replace(
            TRAIN, epochs=1, batch_size=12, optimizer="sgd", chunk_size=size
        )
        method = make(name, tiny_clip, train=train)
        log = method.fit(quick_dataset["train"], quick_dataset["validation"])
        return [epoch.loss for epoch in log.epochs]

    assert losses(5) == pytest.approx(losses(0), rel=1e-4)


@every_method
def test_the_same_seed_gives_the_same_numbers_and_another_does_not(
    name, tiny_clip, tiny_dataset, quick_dataset
):
    def run(seed):
        return run_method(
            name,
            {**quick_dataset, "test": tiny_dataset["test"]},
            backbone=tiny_clip,
            seed=seed,
            options=small_options(name),
            hard_negatives=False,
            train={
                "epochs": 1, "batch_size": 12, "learning_rate": 0.02, "keep_untrained": False,
            },
        )  # fmt: skip

    first = run(0).ranks
    assert run(0).ranks == first
    if takes(name, "seed"):
        assert run(1).ranks != first


def header(name, backbone):
    return made_settings(name, Named(backbone.name, backbone.fingerprint), options=dict(SMALL))


@every_learner
def test_a_checkpoint_gives_the_same_features_again(
    trained, name, tiny_clip, tiny_dataset, tmp_path
):
    save_checkpoint(tmp_path / "c.safetensors", trained.method.learner, header(name, tiny_clip))
    assert kind_of(tmp_path / "c.safetensors") == "checkpoint"
    fresh = make(name, tiny_clip, seed=5)
    load_checkpoint(tmp_path / "c.safetensors", fresh.learner, tiny_clip.fingerprint)
    for one, other in zip(
        features(trained.method, tiny_dataset["test"]),
        features(fresh, tiny_dataset["test"]),
        strict=True,
    ):
        assert torch.equal(one, other)


@every_learner
def test_a_checkpoint_refuses_another_backbone(trained, name, tiny_clip, tmp_path):
    save_checkpoint(tmp_path / "c.safetensors", trained.method.learner, header(name, tiny_clip))
    with pytest.raises(FdrdError, match=r"trained on tiny.*give the same `backbone`"):
        load_checkpoint(tmp_path / "c.safetensors", trained.method.learner, "f" * 64)


def test_batches_are_the_same_for_all_methods(tiny_dataset):
    def rows(seed, epoch):
        return [batch.rows.tolist() for batch in batches(tiny_dataset["train"], 10, seed, epoch)]

    assert rows(0, 1) == rows(0, 1)
    assert rows(0, 1) != rows(1, 1)
    assert rows(0, 1) != rows(0, 2)
    assert sorted(row for batch in rows(0, 0) for row in batch) == list(range(24))
