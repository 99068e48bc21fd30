"""Curves of a training, as TensorBoard reads them, and as another tracker receives them."""

import sys

import pytest

from fdrd.errors import FdrdError


@pytest.fixture
def bench(run_tiny, quick_dataset):
    train = {"epochs": 2, "batch_size": 12, "learning_rate": 0.5}
    return lambda log, **asked: run_tiny("coop", quick_dataset, train=train, log=str(log), **asked)


def test_loss_learning_rate_and_validation_are_logged(bench, tmp_path):
    """TensorBoard and observers get the same points."""
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    points = {}

    def observe(curve, step, value):
        points.setdefault(curve, []).append((step, pytest.approx(value)))

    result = bench(f"tensorboard:{tmp_path}", observers=[observe])
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("coop-test-")
    events = reading.EventAccumulator(str(folder)).Reload()
    curves = {
        name: [(point.step, point.value) for point in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }
    assert curves == points
    assert [step for step, _ in curves["loss"]] == [1, 2, 3, 4]
    first = sum(value for _, value in curves["loss"][:2]) / 2
    assert first == pytest.approx(result.fit.epochs[0].loss)
    assert curves["learning_rate"][0] == (1, 0.5)
    validated = [result.fit.untrained_mrr, *(each.validation_mrr for each in result.fit.epochs)]
    assert [step for step, _ in curves["validation_mrr"]] == [0, 2, 4]
    assert [value for _, value in curves["validation_mrr"]] == pytest.approx(validated)


def test_without_tensorboard_the_extra_is_named(bench, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(FdrdError, match=r"pip install 'fdrd\[tensorboard\]'"):
        bench(tmp_path)


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_the_project_of_another_tracker_is_no_folder(name, bench):
    with pytest.raises(FdrdError, match=f"--track {name}:project: .*give a folder"):
        bench(f"{name}:project")
