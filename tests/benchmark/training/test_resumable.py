"""An interrupted training resumes and ends with the same numbers."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from torch import nn

import benchmark
import benchmark.training.loop
from benchmark.registry import TrainContext
from benchmark.training.loop import TrainConfig, Training
from benchmark.training.resumable import ResumableState, resumable
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError

CONFIG = TrainConfig(epochs=3, batch_size=10, learning_rate=0.1)
STEPS = 9
"""24 rows in batches of 10, 10 and 4, three times."""
SCORES = (0.3, 0.6, 0.5)


class Killed(Exception):  # noqa: N818
    """Stands for a kill: nothing catches it."""


class Learner(nn.Module):
    """Learns from a buffer, dropout and the rows, so that whatever is not kept shows in its weights."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 6))
        self.never_used = nn.Parameter(torch.ones(2))
        self.register_buffer("mean", torch.zeros(6))

    def loss(self, batch):
        if self.training:
            self.mean.mul_(0.9).add_(0.1 * self.weight.detach())
        dropped = torch.nn.functional.dropout(self.weight, 0.5, self.training)
        rows = torch.from_numpy(batch.rows).float()
        return ((dropped + self.mean - rows.mean() / 24) ** 2).mean()


@dataclass
class Run:
    """One process: a fresh learner, and what it was asked for."""

    rows: RetrievalDataset
    path: Path | None
    config: TrainConfig = CONFIG
    seed: int = 0
    dies_at: int | None = None
    """The step after which it is killed; half of a step later where that is a fraction."""
    learner: Learner = field(default_factory=Learner)
    steps: list[int] = field(default_factory=list)
    validations: int = 0

    def loss(self, batch):
        if self.dies_at is not None and len(self.steps) == self.dies_at:
            self.learner.mean.add_(7)  # what a step has begun must not count
            raise Killed
        self.steps.append(batch.epoch)
        return self.learner.loss(batch)

    def validate(self):
        self.validations += 1
        return SCORES[self.steps[-1]] if self.steps else SCORES[0]

    def fit(self, saved):
        torch.rand(3)  # whatever was drawn before must not matter
        return Training(
            self.learner,
            self.loss,
            self.validate,
            self.rows,
            self.config,
            self.seed,
            device=torch.device("cpu"),
            context=TrainContext(saved=saved),
        ).run()

    def run(self):
        with resumable(self.path) as saved:
            return self.fit(saved)


def equal(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def numbers(log):
    return [(each.loss, each.validation_mrr) for each in log.epochs], log.best_epoch


@pytest.fixture
def path(tmp_path):
    return tmp_path / "coop.partial.safetensors"


@pytest.fixture
def kept_often(monkeypatch):
    """After every step."""
    monkeypatch.setattr(benchmark.training.loop, "EVERY", 0)
    monkeypatch.setattr(benchmark.training.resumable, "SHARE", float("inf"))


@pytest.fixture
def rows(tiny_dataset):
    return tiny_dataset["train"]


@pytest.mark.usefixtures("kept_often")
@pytest.mark.parametrize("changes", [{"optimizer": "adamw"}, {}, {"steps": 9, "eval_every": 4}])
@pytest.mark.parametrize("dies_at", [*range(STEPS), None], ids=lambda step: f"{step or 'repeated'}")
def test_killed_at_any_step_it_ends_with_the_same_numbers(rows, path, dies_at, changes):
    """Also if each attempt dies after two steps."""
    config = replace(CONFIG, **changes)
    whole = Run(rows, None, config)
    log = whole.run()
    attempts = [
        Run(rows, path, config, dies_at=each)
        for each in ([2] * 4 if dies_at is None else [dies_at])
    ]
    for attempt in attempts:
        with pytest.raises(Killed):
            attempt.run()
    last = Run(rows, path, config)
    assert numbers(last.run()) == numbers(log)
    assert equal(last.learner, whole.learner)
    runs = [*attempts, last]
    assert sum(len(run.steps) for run in runs) == STEPS  # none is taken twice
    assert sum(run.validations for run in runs) == 4 + (dies_at == 0)  # the untrained state
    assert not last.learner.training
    assert not path.exists()


@pytest.mark.usefixtures("kept_often")
def test_the_state_of_a_finished_training_stays_until_the_run_ends(rows, path):
    """Killed while the test split is encoded, say."""
    first = Run(rows, path)
    with pytest.raises(Killed), resumable(path) as saved:  # noqa: PT012 - one process
        first.fit(saved)
        raise Killed
    second = Run(rows, path)
    second.run()
    assert (second.steps, second.validations) == ([], 0)
    assert equal(second.learner, first.learner)
    assert not second.learner.training


@pytest.mark.usefixtures("kept_often")
@pytest.mark.parametrize("change", ["seed", "learning_rate", "rows", "start"])
def test_another_training_ignores_the_state(rows, path, change):
    with pytest.raises(Killed):
        Run(rows, path, dies_at=5).run()
    other = Run(rows, path)
    if change == "seed":
        other.seed = 1
    elif change == "learning_rate":
        other.config = replace(CONFIG, learning_rate=0.2)
    elif change == "rows":
        other.rows = other.rows.select(range(1, 24))
    else:
        nn.init.zeros_(other.learner.weight)
    other.run()
    assert len(other.steps) == STEPS


@pytest.mark.usefixtures("kept_often")
@pytest.mark.parametrize("damage", [b"", b"{}", None])
def test_training_starts_over_from_a_damaged_file(rows, path, damage, caplog):
    with pytest.raises(Killed):
        Run(rows, path, dies_at=5).run()
    path.write_bytes(path.read_bytes()[:-20] if damage is None else damage)
    again = Run(rows, path)
    again.run()
    assert len(again.steps) == STEPS
    assert "training starts over" in caplog.text


@pytest.mark.usefixtures("kept_often")
def test_a_nan_loss_deletes_the_resumable_state(rows, path):
    run = Run(rows, path)
    finite = run.learner.loss
    run.learner.loss = lambda batch: finite(batch) / (len(run.steps) < 4)
    with pytest.raises(FdrdError, match="the loss is inf at step 4 of 9"):
        run.run()
    assert not path.exists()


def interrupting(run, at, times):
    def loss(batch):
        value = Run.loss(run, batch)
        if len(run.steps) == at:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        return value

    return loss


@pytest.fixture
def listening():
    """Ctrl-C as in a terminal: a job in the background of a script is born deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize(("times", "kept"), [(1, 5), (2, 3)])
def test_ctrl_c_ends_the_step_and_a_second_one_is_immediate(rows, path, times, kept):
    """The first keeps the step, the second saves no partial one: what is kept is the first epoch."""
    whole = Run(rows, None)
    log = whole.run()
    first = Run(rows, path)
    first.loss = interrupting(first, at=5, times=times)
    with pytest.raises(KeyboardInterrupt):
        first.run()
    second = Run(rows, path)
    assert numbers(second.run()) == numbers(log)
    assert equal(second.learner, whole.learner)
    assert len(second.steps) == STEPS - kept
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_callback_runs_before_each_write(path):
    seen = []
    with pytest.raises(Killed), resumable(path, lambda: seen.append(path.exists())) as saved:  # noqa: PT012
        ResumableState("a", saved).write({"x": torch.ones(2)}, {"n": 1})
        raise Killed
    assert seen == [False]
    with resumable(path) as saved:
        tensors, metadata = ResumableState("a", saved).read()
    assert metadata == {"n": 1}
    assert torch.equal(tensors["x"], torch.ones(2))


def test_writing_that_is_slow_is_rare(path, monkeypatch):
    """Two seconds of writing want forty of training, where a twentieth may go into it."""
    now = [0.0]
    monkeypatch.setattr(benchmark.training.resumable.time, "monotonic", lambda: now[0])

    def slow():
        now[0] += 2

    with resumable(path, slow) as saved:
        kept = ResumableState("a", saved)
        assert kept.is_due(0)
        assert not kept.is_due(30)
        kept.write({}, {})
        assert not kept.is_due(0)
        now[0] += 39
        assert not kept.is_due(0)
        now[0] += 2
        assert kept.is_due(0)
    assert not ResumableState("a", None).is_due(0)
