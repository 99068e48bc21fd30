"""DCAR beyond its figure: maps of layers that start from the closed form, beside the frozen joint space."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

import dcar.plus
from benchmark import Images, TrainConfig, get_method
from benchmark.training.loop import batches, order_of_rows
from benchmark.training.losses import info_nce
from dcar.plus import SCALES, TRAIN, Start, choose_starts, weighed
from tests.encoding import features

SHORT = replace(TRAIN, steps=3, eval_every=3, batch_size=8, per_category=4)
NONE = replace(SHORT, learning_rate=1e-30)
"""Leaves the maps of the closed form as they are."""
LAYERS = "joint,0"


@pytest.fixture(autouse=True)
def _one_prior(monkeypatch):
    monkeypatch.setattr(dcar.plus, "PRIORS", (0.3,))


def fitted(backbone, splits, train=SHORT, layers=LAYERS, **options):
    method = get_method("dcar_plus")(backbone, train=train, layers=layers, **options)
    return method, method.fit(splits["train"], splits["validation"])


@torch.no_grad()
def encoded(method, dataset):
    return method.encode_image(Images.of(dataset)), method.encode_text(dataset.captions)


def joint_scores(clip, dataset):
    images, texts = features(get_method("zero_shot")(clip), dataset)
    return images @ texts.T


@pytest.mark.parametrize("priors", [(0.3,), (0.3, 1.0)])
def test_it_starts_from_the_closed_form(priors, tiny_clip, tiny_dataset, monkeypatch):
    """The mapped part of the score is that of the chosen maps, up to the columns that are left out."""
    monkeypatch.setattr(dcar.plus, "PRIORS", priors)
    method, _ = fitted(tiny_clip, tiny_dataset, NONE, layers="joint,0,last")
    starts = choose_starts(method.blocks, tiny_dataset["train"], tiny_dataset["validation"])
    assert sum(start.weight for start in starts) == pytest.approx(1)
    images, _ = encoded(method, tiny_dataset["test"])
    mapped = normalize(images.pooled[:, tiny_clip.dim :], dim=1)
    x = method.blocks.encode_image(Images.of(tiny_dataset["test"])).double()
    parts = [
        (start.weight * start.gamma / (1 + start.gamma)) ** 0.5
        * (x[:, : len(start.maps.image.mean)] - start.maps.image.mean)
        @ start.maps.image.map
        for start in starts
    ]
    expected = normalize(torch.cat(parts, dim=1), dim=1).float()
    assert (mapped @ mapped.T - expected @ expected.T).abs().max() < 1e-4


def test_maps_weigh_by_likelihood_and_none_by_less_than_a_hundredth():
    even, uneven, one = (
        [start.weight for start in weighed([Start(None, 1.0, "", loss) for loss in losses], 40)]
        for losses in ((2.0, 2.0), (2.0, 2.2), (2.0, 2.5))
    )
    assert even == [0.5, 0.5]
    assert uneven[0] / uneven[1] == pytest.approx(np.exp(0.2 * 10))
    assert one == [1.0, 0.0]


def test_the_score_is_the_weighted_mean_of_joint_and_mapped_cosines(tiny_clip, tiny_dataset):
    method, _ = fitted(tiny_clip, tiny_dataset, layers="auto")
    test = tiny_dataset["test"]
    images, texts = encoded(method, test)
    gamma = float(method.learner.gamma)
    with torch.no_grad():
        image = method.learner.image(method.blocks.encode_image(Images.of(test)))
        mapped = image @ method.learner.text(method.blocks.encode_text(test.captions)).T
    expected = (joint_scores(tiny_clip, test) + gamma * mapped) / (1 + gamma)
    assert (method.similarity(images, texts) - expected).abs().max() < 1e-6


def test_the_start_has_the_lowest_loss_on_validation(tiny_clip, tiny_dataset, monkeypatch):
    """It is the loss of what is scored, over images and captions of all rows."""
    validation = tiny_dataset["validation"].select([*range(9), 3])  # a row twice: no wrong pair
    data = tiny_dataset | {"validation": validation}
    image, caption = validation.pairs.T
    repeats = torch.from_numpy(image[:, None] == image) & ~torch.eye(10, dtype=torch.bool)
    assert repeats.sum() == 2

    def start_with(*gammas):
        monkeypatch.setattr(dcar.plus, "GAMMAS", gammas)
        method, _ = fitted(tiny_clip, data, NONE)
        images, texts = encoded(method, validation)
        scores = (images.pooled @ texts.pooled.T)[image][:, caption]
        found = min(float(info_nce(scale * scores, repeats=repeats)) for scale in SCALES)
        (start,) = choose_starts(method.blocks, data["train"], validation)
        assert found == pytest.approx(start.loss, abs=1e-3)
        return start

    best = min(start_with(1e-9), start_with(100.0), key=lambda start: start.loss)
    assert start_with(1e-9, 100.0).name == best.name


@pytest.mark.parametrize("gammas", [(1e-9, 4.0), (4.0, 1e-9)])
def test_validation_chooses_gamma(gammas, tiny_clip, tiny_dataset, monkeypatch):
    """The joint space of an untrained model alone is worse than with the maps beside it."""
    monkeypatch.setattr(dcar.plus, "GAMMAS", gammas)
    method, _ = fitted(tiny_clip, tiny_dataset, NONE)
    assert float(method.learner.gamma) == 4.0


def test_training_changes_the_maps_and_keeps_the_last_state(tiny_clip, tiny_dataset):
    method, log = fitted(tiny_clip, tiny_dataset)
    start, _ = fitted(tiny_clip, tiny_dataset, NONE)
    assert log.steps == log.best_step == 3
    for side in ("image", "text"):
        maps = [getattr(each.learner, side) for each in (method, start)]
        assert (maps[0].map - maps[1].map).abs().max() > 1e-5
        assert torch.equal(maps[0].mean, maps[1].mean)


def test_the_category_loss_is_added(tiny_clip, tiny_dataset):
    method, _ = fitted(tiny_clip, tiny_dataset, lambda_cate=1.0)
    batch = next(batches(tiny_dataset["train"], 8, 0, 0))
    whole = method.loss(batch).item()
    method.candidates = None
    assert whole > method.loss(batch).item() > 0


@pytest.mark.parametrize("rank", [1, 10_000])
def test_without_a_better_map_it_starts_from_the_joint_space(rank, tiny_clip, tiny_dataset):
    """Neither a part of it, nor with layers of both towers side by side, which have nothing to do with each other."""
    method, test = get_method("dcar_plus")(tiny_clip, rank=rank), tiny_dataset["test"]
    found = method.similarity(*encoded(method, test))
    assert (found - joint_scores(tiny_clip, test)).abs().max() < 1e-6


def test_rows_of_a_category_follow_each_other():
    category = np.repeat(np.arange(5), 7)
    order = order_of_rows(category, seed=1, epoch=2, per_category=3)
    assert sorted(order) == list(range(35))
    runs = np.flatnonzero(np.diff(category[order])) + 1
    assert all(len(run) <= 7 for run in np.split(order, runs))
    assert len(runs) + 1 <= 5 * 3  # groups of 3, 3 and 1
    assert not np.array_equal(order, order_of_rows(category, seed=1, epoch=3, per_category=3))
    shuffled = order_of_rows(category, seed=1, epoch=2)
    assert len(np.flatnonzero(np.diff(category[shuffled]))) > len(runs)
    assert TrainConfig().per_category == 0
