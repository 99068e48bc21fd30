"""The one loop: what it refuses, what it keeps, how the rate falls."""

from itertools import repeat

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.registry import TrainContext
from benchmark.training.learners import ContextVectors
from benchmark.training.loop import TrainConfig, Training, batches, learning_rate
from benchmark.training.row_selection import few_shot, training_rows
from fdrd.errors import FdrdError


class OneNumber(nn.Module):
    """A parameter that is pulled to zero."""

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(1.0))

    def loss(self, _batch):
        return self.value**2


def run(learner, rows, scores=0.5, loss=None, told=lambda *_: None, **config):
    """Fit a learner, whose validation gives these scores, or always the same one."""
    given = iter(scores) if isinstance(scores, list) else repeat(scores)
    return Training(
        learner,
        loss or learner.loss,
        lambda: next(given),
        rows,
        TrainConfig(**config),
        0,
        device=torch.device("cpu"),
        context=TrainContext(told),
    ).run()


SLOW = {"batch_size": 8, "learning_rate": 0.01, "schedule": "constant"}


@pytest.fixture
def rows(tiny_dataset):
    """24 rows: three batches of 8."""
    return tiny_dataset["train"]


def test_the_first_of_equally_good_epochs_is_kept(rows):
    learner = OneNumber()
    seen = []

    def loss(batch):
        if batch.epoch == len(seen):
            seen.append(learner.value.item())
        return learner.loss(batch)

    log = run(learner, rows, [0.0, 0.1, 0.5, 0.5, 0.2], loss, epochs=4, **SLOW)
    assert log.best_epoch == 2
    assert learner.value.item() == seen[2]  # as the third epoch found it


def test_patience_stops_after_epochs_without_improvement(rows):
    """Of six epochs the second is best, so with a patience of two the fourth is the last."""
    seen = []

    def course(patience):
        learner, scores = OneNumber(), [0.0, 0.1, 0.5, 0.5, 0.2, 0.6, 0.7]
        config = {"batch_size": 8, "learning_rate": 0.01, "epochs": 6, "patience": patience}
        log = run(learner, rows, scores, told=lambda *told: seen.append(told), **config)
        return log, learner.value.item()

    log, value = course(2)
    assert (len(log.epochs), log.best_epoch) == (4, 2)
    assert seen[-1][0].startswith("epoch 4 of 6 | loss")
    assert {total for stage, _, total in seen if stage.startswith("train")} == {18}
    whole, later = course(0)
    assert (len(whole.epochs), whole.best_epoch) == (6, 6)
    assert [each.loss for each in whole.epochs[:4]] == [each.loss for each in log.epochs]
    assert value > later


def test_the_untrained_state_is_kept_if_no_later_one_is_better(rows):
    learner = OneNumber()
    log = run(learner, rows, [0.5, 0.5, 0.2], epochs=2, **SLOW)
    assert (log.best_epoch, log.best_step, log.untrained_mrr) == (0, 0, 0.5)
    assert learner.value.item() == 1


@pytest.mark.parametrize(
    ("config", "evaluated"),
    [
        ({"steps": 7, "eval_every": 3}, [3, 6, 7]),
        ({"steps": 25}, [3, 6, 9, 12, 15, 18, 21, 24, 25]),
        ({"epochs": 2}, [3, 6]),
        ({"epochs": 2, "eval_every": 2}, [2, 4, 6]),
        ({"epochs": 10}, [*range(3, 31, 3)]),  # longer ones are not evaluated more often
        ({"epochs": 11}, [6, 12, 18, 24, 30, 33]),
        *(({"steps": 11, "eval_every": 3, "batch_size": b}, [3, 6, 9, 11]) for b in (7, 23, 32)),
    ],
)
def test_steps_and_evaluations(rows, config, evaluated):
    """Steps run on over the ends of epochs. A last batch of a single row is left out."""
    learner, seen, config = OneNumber(), [], {"batch_size": 8, **config}

    def loss(batch):
        seen.append((batch.step, batch.epoch, tuple(batch.rows)))
        return learner.loss(batch)

    log = run(learner, rows, loss=loss, **config)
    assert [each.step for each in log.epochs] == evaluated
    assert log.steps == evaluated[-1]
    assert [step for step, _, _ in seen] == list(range(log.steps))
    ordered = [b for epoch in range(11) for b in batches(rows, config["batch_size"], 0, epoch)]
    assert seen == [(b.step, b.epoch, tuple(b.rows)) for b in ordered[: log.steps]]
    pairs = np.cumsum([len(numbers) for _, _, numbers in seen])
    assert [each.pairs for each in log.epochs] == [pairs[step - 1] for step in evaluated]
    assert log.after(log).pairs == 2 * log.pairs == 2 * pairs[-1]


def test_epochs_and_steps_exclude_each_other():
    assert TrainConfig().changed({"steps": "500"}).epochs == 0
    assert TrainConfig(steps=500).changed({"epochs": 3}) == TrainConfig(epochs=3)
    with pytest.raises(FdrdError, match="epochs and steps: both set the length"):
        TrainConfig().changed({"steps": 500, "epochs": 10})


def test_the_rate_rises_and_falls():
    constant = TrainConfig(learning_rate=1.0, warmup=3, schedule="constant")
    rates = [learning_rate(constant, step, 9) for step in range(5)]
    assert rates == [0.25, 0.5, 0.75, 1.0, 1.0]
    cosine = [learning_rate(TrainConfig(learning_rate=0.5), step, 10) for step in range(11)]
    assert cosine[0] == 0.5
    assert cosine == sorted(cosine, reverse=True)
    assert cosine[10] == pytest.approx(0)


def test_training_on_one_row_is_an_error(rows):
    with pytest.raises(FdrdError, match="at least 2 pairs, got 1"):
        run(OneNumber(), rows.select([0]), epochs=1)


@pytest.mark.parametrize(("size", "sizes"), [(10, [10, 10, 4]), (23, [23])])
def test_the_last_smaller_batch_is_used_unless_it_is_one_row(rows, size, sizes):
    found = list(batches(rows, size, 0, 0))
    assert [len(batch.rows) for batch in found] == sizes
    for batch in found:
        assert np.array_equal(batch.images.numbers, rows.pairs[batch.rows, 0])
        assert batch.captions == [rows.captions[number] for number in rows.pairs[batch.rows, 1]]


def test_context_starts_from_the_words_and_is_drawn_for_the_rest(tiny_clip):
    learner = ContextVectors(tiny_clip, n_ctx=5, words="a photo of", depth=2, seed=0)
    first, second = learner().text
    assert torch.equal(first[:3].detach(), tiny_clip.word_embeddings("a photo of"))
    assert 0 < first[3:].abs().max().item() < 0.2
    assert second.shape == (5, tiny_clip.text_width)
    (short,) = ContextVectors(tiny_clip, n_ctx=2, words="a photo of", depth=1, seed=0)().text
    assert torch.equal(short.detach(), first[:2].detach())


def test_few_shots_are_images_per_category(tiny_dataset, rows):
    """Of 24 drawings of three shapes, whatever their order; validation is few, too."""
    chosen = few_shot(rows, 2, seed=0)
    assert np.bincount(chosen.image_category).tolist() == [2, 2, 2]
    turned = few_shot(rows.select(np.arange(24)[::-1]), 2, seed=0)
    assert set(chosen.captions) == set(turned.captions)
    assert set(chosen.captions) != set(few_shot(rows, 2, seed=1).captions)
    found = training_rows(tiny_dataset, None, 6, seed=0)
    for split, count in (("train", 6), ("validation", 4)):
        assert np.bincount(found[split].image_category).tolist() == [count] * 3
