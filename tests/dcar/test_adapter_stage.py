"""The adapter learns alone first: on plain features, before the prompts do."""

from dataclasses import replace

import pytest
import torch

import benchmark.training.resumable
from benchmark import Prompts, TrainConfig, TrainContext, get_method
from benchmark.training.resumable import resumable

TRAIN = TrainConfig(epochs=2, batch_size=8, optimizer="adamw", learning_rate=0.01)


NONE = Prompts()


class Stopped(Exception):  # noqa: N818
    """Stands for a kill."""


def made(backbone, **options):
    small = {"n_ctx": 2, "depth": 2, "train": TRAIN, "adapter_epochs": 3}
    return get_method("dcar")(backbone, **{**small, **options})


def stopped_at(method, step):
    """The method, whose training dies before this step of prompts and adapter together."""
    taken, loss = [0], method.loss

    def dying(batch):
        if taken[0] == step:
            raise Stopped
        taken[0] += 1
        result = loss(batch)
        return result

    method.loss = dying
    return method


def test_the_adapter_is_trained_before_the_prompts(tiny_clip, tiny_dataset):
    before = made(tiny_clip).learner.state_dict()
    method = stopped_at(made(tiny_clip), 0)
    with pytest.raises(Stopped):
        method.fit(tiny_dataset["train"], tiny_dataset["validation"])
    for name, value in method.learner.state_dict().items():
        assert (not torch.equal(value, before[name])) == name.startswith("adapter."), name


def test_the_adapter_stage_runs_no_prompted_tower(tiny_clip, tiny_dataset, monkeypatch):
    encode = tiny_clip.encode_image

    def plain(images, prompts=NONE, **rest):
        assert not prompts.vision
        return encode(images, prompts, **rest)

    train = replace(
        TRAIN, keep_untrained=False
    )  # or the prompts are evaluated before the first step
    method = stopped_at(made(tiny_clip, train=train), 0)
    monkeypatch.setattr(tiny_clip, "encode_image", plain)
    with pytest.raises(Stopped):
        method.fit(tiny_dataset["train"], tiny_dataset["validation"])


def test_the_log_and_the_curves_have_the_steps_of_both_stages(tiny_clip, tiny_dataset):
    """24 rows: three epochs of one batch for the adapter, then two epochs of three batches of 8."""
    method, rows = made(tiny_clip), (tiny_dataset["train"], tiny_dataset["validation"])
    points = []
    context = TrainContext(observers=(lambda curve, step, value: points.append((curve, step)),))
    log = method.fit(*rows, context)
    assert [each.step for each in log.epochs] == [1, 2, 3, 6, 9]
    assert log.steps == 9
    assert [step for curve, step in points if curve == "loss"] == [*range(1, 10)]


def test_adapters_learn_at_a_fifth_of_the_rate(tiny_clip, tiny_dataset, monkeypatch):
    """In both stages; prompts have the whole rate."""
    seen = []
    step = torch.optim.AdamW.step

    def watched(optimizer, *arguments):
        seen.append([(group["lr"], len(group["params"])) for group in optimizer.param_groups])
        return step(optimizer, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    train = replace(TRAIN, epochs=1, schedule="constant")
    method = made(tiny_clip, train=train, adapter_epochs=1)
    method.fit(tiny_dataset["train"], tiny_dataset["validation"])
    learner = method.learner
    sizes = [len(list(each.parameters())) for each in (learner.prompts, learner.adapter)]
    assert seen == [[(0.01, sizes[0]), (0.002, sizes[1])]] * 4


@pytest.mark.parametrize(
    "options", [{"adapter": False}, {"lambda_cate": 0.0, "gamma": 0.0}], ids=str
)
def test_the_adapter_stage_is_skipped_without_trainable_adapter(options, tiny_clip, tiny_dataset):
    ends = []
    for epochs in (0, 3):
        method = made(tiny_clip, adapter_epochs=epochs, **options)
        method.fit(tiny_dataset["train"], tiny_dataset["validation"])
        ends.append(method.learner.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_training_killed_after_the_adapter_stage_resumes_exactly(
    tiny_clip, tiny_dataset, tmp_path, monkeypatch
):
    """What is kept is that of the prompts: the adapter's own epochs must not write over it."""
    monkeypatch.setattr("benchmark.training.loop.EVERY", 0)
    monkeypatch.setattr(benchmark.training.resumable, "SHARE", float("inf"))
    rows = tiny_dataset["train"], tiny_dataset["validation"]
    whole = made(tiny_clip)
    log = whole.fit(*rows)
    path = tmp_path / "dcar.partial.safetensors"
    with pytest.raises(Stopped), resumable(path) as saved:
        stopped_at(made(tiny_clip), 4).fit(*rows, TrainContext(saved=saved))
    second, steps = made(tiny_clip), []
    loss = second.loss
    second.loss = lambda batch: steps.append(batch.epoch) or loss(batch)
    with resumable(path) as saved:
        again = second.fit(*rows, TrainContext(saved=saved))
    assert len(steps) == 2 * 3 - 4  # 24 rows in three batches, twice, of which four were taken
    assert [each.loss for each in again.epochs] == [each.loss for each in log.epochs]
    learned = whole.learner.state_dict()
    for name, value in second.learner.state_dict().items():
        assert torch.equal(value, learned[name]), name
