"""Curves of a training, as TensorBoard reads them, and as another tracker receives them."""

import sys
from types import SimpleNamespace

import pytest

import benchmark
from fdrd.errors import FdrdError


def bench(clip, data, folder):
    train = {"epochs": 2, "batch_size": 12, "learning_rate": 0.5}
    return benchmark.run("coop", data, backbone=clip, options={"n_ctx": 4}, train=train, log=folder)


def test_loss_learning_rate_and_validation_are_logged(tiny_clip, tiny_dataset, tmp_path):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    result = bench(tiny_clip, tiny_dataset, tmp_path)
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("coop-test-")
    events = reading.EventAccumulator(str(folder)).Reload()
    curves = {
        name: [(point.step, point.value) for point in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }
    assert [step for step, _ in curves["loss"]] == [1, 2, 3, 4]
    assert sum(value for _, value in curves["loss"][:2]) / 2 == pytest.approx(
        result.fit.epochs[0].loss
    )
    assert [value for _, value in curves["learning_rate"]][:1] == [0.5]
    assert [step for step, _ in curves["validation_mrr"]] == [0, 2, 4]
    assert [value for _, value in curves["validation_mrr"]] == pytest.approx(
        [result.fit.untrained_mrr, *(each.validation_mrr for each in result.fit.epochs)]
    )


def test_without_tensorboard_the_extra_is_named(tiny_clip, tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(FdrdError, match=r"pip install 'fdrd\[tensorboard\]'"):
        bench(tiny_clip, tiny_dataset, tmp_path)


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_other_trackers_get_the_settings_and_every_point(
    name, tiny_clip, tiny_dataset, monkeypatch
):
    """A module with the interface that trackio and wandb share."""
    begun, points, ended = [], [], []

    class Run:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            ended.append(True)

        def log(self, values, step):
            points.append((*values.items(), step))

    module = SimpleNamespace(
        init=lambda **given: begun.append(given) or Run(),
        log=lambda values, step: Run().log(values, step),
        finish=lambda: ended.append(True),
    )
    monkeypatch.setitem(sys.modules, name, module)
    result = bench(tiny_clip, tiny_dataset, f"{name}:project")
    assert begun[0]["project"] == "project"
    assert (begun[0]["config"]["n_ctx"], begun[0]["config"]["learning_rate"]) == (4, 0.5)
    assert (("validation_mrr", result.fit.epochs[-1].validation_mrr), 4) in points
    assert ended == [True]
