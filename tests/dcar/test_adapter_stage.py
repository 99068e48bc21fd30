"""The adapter learns alone first: on plain features, before the prompts do."""

from dataclasses import replace

import pytest
import torch

import benchmark.training.resumable
from benchmark import TrainConfig, TrainContext, get_method
from benchmark.training.resumable import resumable

CONTROL = {"depth": 0, "second_adapter": True}
TRAIN = TrainConfig(epochs=2, batch_size=12, optimizer="adamw", learning_rate=0.01)


class Stopped(Exception):  # noqa: N818
    """Stands for a kill."""


def made(backbone, **options):
    small = {"n_ctx": 2, "depth": 2, "train": TRAIN, "adapter_epochs": 3}
    return get_method("dcar")(backbone, **{**small, **options})


def stopped_at(method, step):
    """Return the method, whose training dies before this step of prompts and adapter together."""
    loss, left = method.loss, iter(range(step))

    def dying(batch):
        if next(left, None) is None:
            raise Stopped
        return loss(batch)

    method.loss = dying
    return method


def test_the_adapter_is_trained_before_the_prompts_and_runs_no_prompted_tower(
    tiny_clip, tiny_dataset, monkeypatch
):
    encode = tiny_clip.encode_image

    def plain(images, *prompts, **rest):
        assert not any(each.vision for each in prompts)
        return encode(images, *prompts, **rest)

    # Otherwise the prompts are evaluated before their first step.
    train = replace(TRAIN, keep_untrained=False)
    before = made(tiny_clip).learner.state_dict()
    method = stopped_at(made(tiny_clip, train=train), 0)
    monkeypatch.setattr(tiny_clip, "encode_image", plain)
    with pytest.raises(Stopped):
        method.fit(tiny_dataset["train"], tiny_dataset["validation"])
    for name, value in method.learner.state_dict().items():
        assert (not torch.equal(value, before[name])) == name.startswith("adapter."), name


def test_the_log_and_the_curves_have_the_steps_of_both_stages(tiny_clip, quick_dataset):
    """24 rows: three epochs of one batch for the adapter, then two epochs of two batches of 12."""
    points = []
    context = TrainContext(observers=(lambda curve, step, value: points.append((curve, step)),))
    log = made(tiny_clip).fit(quick_dataset["train"], quick_dataset["validation"], context)
    assert [each.step for each in log.epochs] == [1, 2, 3, 5, 7]
    assert log.steps == 7
    assert [step for curve, step in points if curve == "loss"] == [*range(1, 8)]


@pytest.mark.parametrize(
    ("options", "rates"),
    [({}, {"prompts": 0.01, "adapter": 0.002}), (CONTROL, {"adapter": 0.002, "second": 0.002})],
)
def test_adapters_learn_at_a_fifth_of_the_rate(
    options, rates, tiny_clip, quick_dataset, monkeypatch
):
    """In both stages; prompts have the whole rate. The control of the ablation is tuned as what it is compared with."""
    seen = []
    step = torch.optim.AdamW.step

    def watched(optimizer, *arguments):
        groups = optimizer.param_groups
        seen.append({id(each): group["lr"] for group in groups for each in group["params"]})
        return step(optimizer, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    train = replace(TRAIN, epochs=1, schedule="constant")
    method = made(tiny_clip, train=train, adapter_epochs=1, **options)
    method.fit(quick_dataset["train"], quick_dataset["validation"])
    expected = {
        id(each): rate
        for name, rate in rates.items()
        for each in getattr(method.learner, name).parameters()
    }
    assert seen == [expected] * 3


@pytest.mark.parametrize(
    "options", [{"adapter": False}, {"lambda_cate": 0.0, "gamma": 0.0}], ids=str
)
def test_the_adapter_stage_is_skipped_without_trainable_adapter(options, tiny_clip, quick_dataset):
    method = made(tiny_clip, train=replace(TRAIN, epochs=1), **options)
    log = method.fit(quick_dataset["train"], quick_dataset["validation"])
    assert [each.step for each in log.epochs] == [2]


def test_training_killed_after_the_adapter_stage_resumes_exactly(
    tiny_clip, quick_dataset, tmp_path, monkeypatch
):
    """What is kept is that of the prompts: the adapter's own epochs must not write over it."""
    monkeypatch.setattr("benchmark.training.loop.EVERY", 0)
    monkeypatch.setattr(benchmark.training.resumable, "SHARE", float("inf"))

    def fitted(method):
        with resumable(tmp_path / "dcar.partial.safetensors") as saved:
            context = TrainContext(saved=saved)
            return method.fit(quick_dataset["train"], quick_dataset["validation"], context)

    whole = made(tiny_clip)
    log = fitted(whole)
    with pytest.raises(Stopped):
        fitted(stopped_at(made(tiny_clip), 3))
    again = stopped_at(made(tiny_clip), 1)  # two epochs of two batches, of which three were taken
    assert [each.loss for each in fitted(again).epochs] == [each.loss for each in log.epochs]
    learned = whole.learner.state_dict()
    for name, value in again.learner.state_dict().items():
        assert torch.equal(value, learned[name]), name
