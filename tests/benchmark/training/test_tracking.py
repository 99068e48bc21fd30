"""Curves of a training, as TensorBoard reads them, and as another tracker receives them."""

import sys

import pytest

from fdrd.errors import FdrdError
from tests.running import run_method


def bench(clip, data, folder):
    train = {"epochs": 2, "batch_size": 12, "learning_rate": 0.5}
    return run_method("coop", data, backbone=clip, options={"n_ctx": 4}, train=train, log=folder)


def test_loss_learning_rate_and_validation_are_logged(tiny_clip, tiny_dataset, tmp_path):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    result = bench(tiny_clip, tiny_dataset, f"tensorboard:{tmp_path}")
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
def test_the_project_of_another_tracker_is_no_folder(name, tiny_clip, tiny_dataset):
    with pytest.raises(FdrdError, match=f"--track {name}:project: .*give a folder"):
        bench(tiny_clip, tiny_dataset, f"{name}:project")


def test_another_tracker_is_an_observer(tiny_clip, tiny_dataset):
    points = []
    train = {"epochs": 2, "batch_size": 12}
    result = run_method(
        "coop",
        tiny_dataset,
        backbone=tiny_clip,
        train=train,
        options={"n_ctx": 4},
        observers=[lambda *point: points.append(point)],
    )
    assert points[-1] == ("validation_mrr", 4, result.fit.epochs[-1].validation_mrr)
    assert [step for curve, step, _ in points if curve == "loss"] == [1, 2, 3, 4]
