"""The contract of every registered method. A new method is tested here automatically."""

import copy
import dataclasses
from types import SimpleNamespace

import pytest
import torch

import benchmark
from benchmark import Images, TrainConfig, TrainContext
from benchmark.checkpoint import load_checkpoint, save_checkpoint
from benchmark.registry import get_method, method_names, takes
from benchmark.settings import Named
from benchmark.training.loop import batches
from benchmark.training.resumable import resumable
from fdrd.kinds import kind_of
from tests.encoding import features
from tests.running import made_settings
from tests.small_methods import SMALL, parametrize_methods, small_options

TRAIN = TrainConfig(
    epochs=4, batch_size=8, learning_rate=0.02, schedule="constant", keep_untrained=False
)
SHORT = dataclasses.replace(TRAIN, epochs=2, batch_size=12)
"""Two steps over 12 rows."""


def make(name, backbone, seed=0, train=TRAIN):
    filled = {"backbone": backbone, "seed": seed, "train": train}
    taken = {key: value for key, value in filled.items() if takes(name, key)}
    return get_method(name)(**small_options(name), **taken)


def learned(method):
    return [] if method.learner is None else list(method.learner.state_dict().values())


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(learned(one), learned(other), strict=True))


every_method = parametrize_methods(method_names())
every_learner = parametrize_methods(n for n in method_names() if takes(n, "train"))


@pytest.fixture(scope="module")
def trained(name, tiny_clip, quick_dataset):
    """Each method, fitted once, its training log, and the tensors of the backbone before it was made."""
    before = copy.deepcopy(tiny_clip.model.state_dict())
    method = make(name, tiny_clip)
    log = None
    if method.trains != "nothing":
        log = method.fit(quick_dataset["train"], quick_dataset["validation"])
    return SimpleNamespace(method=method, log=log, before=before)


@every_method
def test_features_have_unit_length_and_depend_on_their_item_alone(name, tiny_clip, tiny_dataset):
    """So features of a caption are bitwise equal, whichever image was encoded before."""
    method, dataset = make(name, tiny_clip), tiny_dataset["test"]
    found = features(method, dataset)
    for pooled in found:
        assert pooled.shape == (24, pooled.shape[1])
        assert pooled.isfinite().all()
        assert (pooled.norm(dim=1) - 1).abs().max() < 1e-5
    with torch.no_grad():
        images = method.encode_image(Images.of(dataset)[:5])
        texts = method.encode_text(dataset.captions)
        assert method.similarity(images, texts[:3]).shape == (5, 3)
        assert torch.equal(texts.pooled, found[1])
        for row in (0, 11):
            image = method.encode_image(Images.of(dataset)[[row]]).pooled
            text = method.encode_text([dataset.captions[row]]).pooled
            for alone, pooled in zip((image, text), found, strict=True):
                assert (alone - pooled[row]).abs().max() < 1e-5


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
        assert any(id(each) in of_copy for each in method.learner.modules())


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
    earlier = len(log.epochs) - TRAIN.epochs  # of a stage in which adapters or maps train alone
    epochs = log.epochs[earlier:]
    assert min(epoch.loss for epoch in epochs[1:]) < epochs[0].loss
    scores = [epoch.validation_mrr for epoch in epochs]
    assert log.best_epoch == earlier + 1 + scores.index(max(scores))
    short = dataclasses.replace(TRAIN, epochs=log.best_epoch - earlier)
    again = make(name, tiny_clip, train=short)
    again.fit(quick_dataset["train"], quick_dataset["validation"])
    assert equal(trained.method, again)


@pytest.fixture(scope="module")
def few(tiny_dataset):
    """Twelve rows to train on, four to validate on."""
    few = {"train": tiny_dataset["train"].select(range(12))}
    return {**tiny_dataset, **few, "validation": tiny_dataset["validation"].select(range(4))}


@every_learner
def test_a_killed_training_ends_with_the_same_tensors(name, make_clip, few, tmp_path, monkeypatch):
    """Killed in the second epoch. State outside the learner would be lost, and the test would fail."""
    monkeypatch.setattr(benchmark.training.loop, "EVERY", 0)

    def fitted(place, dies_at=None):
        def tell(stage, done, _total):
            if stage.startswith("train") and done == dies_at:
                raise RuntimeError("killed")

        frozen = benchmark.FrozenFeatures(tmp_path / place)
        train = dataclasses.replace(SHORT, scale="learned")  # whose state is not the learner's
        method = make(name, make_clip(frozen), train=train)
        with resumable(tmp_path / f"{place}.safetensors", frozen.flush) as saved:
            method.fit(few["train"], few["validation"], TrainContext(tell, saved=saved))
        return method

    whole = fitted("whole")
    with pytest.raises(RuntimeError, match="killed"):
        fitted("killed", dies_at=2)
    assert (tmp_path / "killed.safetensors").is_file()
    resumed = fitted("killed")
    assert equal(whole, resumed)


@every_learner
def test_a_training_in_chunks_has_the_same_losses(name, tiny_clip, few):
    def losses(size):
        train = dataclasses.replace(SHORT, epochs=1, optimizer="sgd", chunk_size=size)
        log = make(name, tiny_clip, train=train).fit(few["train"], few["validation"])
        return [epoch.loss for epoch in log.epochs]

    assert losses(4) == pytest.approx(losses(0), rel=1e-4)


@every_method
def test_the_same_seed_gives_the_same_numbers_and_another_does_not(name, tiny_clip, few):
    def numbers(seed):
        method = make(name, tiny_clip, seed, dataclasses.replace(SHORT, batch_size=6))
        if method.trains != "nothing":
            method.fit(few["train"], few["validation"])
        return learned(method) or features(method, few["test"])

    def same(one, other):
        return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))

    first = numbers(0)
    assert same(numbers(0), first)
    if takes(name, "seed"):
        assert not same(numbers(1), first)


@every_learner
def test_a_checkpoint_gives_the_same_features_again(
    trained, name, tiny_clip, tiny_dataset, tmp_path
):
    path = tmp_path / "c.safetensors"
    backbone = Named(tiny_clip.name, tiny_clip.fingerprint)
    settings = made_settings(name, backbone, options=dict(SMALL))
    save_checkpoint(path, trained.method.learner, settings)
    assert kind_of(path) == "checkpoint"
    fresh = make(name, tiny_clip, seed=5)
    load_checkpoint(path, fresh.learner, tiny_clip.fingerprint)
    both = (features(method, tiny_dataset["test"]) for method in (trained.method, fresh))
    assert all(torch.equal(one, other) for one, other in zip(*both, strict=True))


def test_batches_are_the_same_for_all_methods(tiny_dataset):
    def rows(seed, epoch):
        return [batch.rows.tolist() for batch in batches(tiny_dataset["train"], 10, seed, epoch)]

    assert rows(0, 1) == rows(0, 1)
    assert rows(0, 1) != rows(1, 1)
    assert rows(0, 1) != rows(0, 2)
    assert sorted(row for batch in rows(0, 0) for row in batch) == list(range(24))
