"""Tip-Adapter adds what cached pairs say to the score, and validation chooses how much."""

import numpy as np
import pytest
import torch

import baselines.tip_adapter
from baselines.tip_adapter import tip_adapter
from benchmark import get_method
from benchmark.evaluation.encoding import encode_split, rank_split
from benchmark.evaluation.ranking import mean_mrr
from tests.encoding import features


def plain(backbone, dataset):
    """Features of both sides in double precision."""
    found = features(get_method("zero_shot")(backbone), dataset)
    return [np.asarray(each.double()) for each in found]


def fitted(backbone, data, pairs="train"):
    method = tip_adapter(backbone)
    method.fit(data[pairs], data["validation"])
    return method


def scores(method, dataset):
    images, texts = encode_split(method, dataset)
    return np.asarray(method.similarity(images, texts))


def test_a_score_equals_its_definition(tiny_clip, tiny_dataset):
    method = fitted(tiny_clip, tiny_dataset)
    train, test = tiny_dataset["train"], tiny_dataset["test"]
    method.learner.choose(2.0, 5.0)
    keys = [each[train.pairs[:, side]] for side, each in enumerate(plain(tiny_clip, train))]
    images, texts = plain(tiny_clip, test)
    one, other = (
        np.exp(-5 * (1 - each @ key.T)) for each, key in zip((images, texts), keys, strict=True)
    )
    one, other = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (one, other))
    expected = (images @ texts.T + 2 * one @ other.T) / 3
    assert scores(method, test) == pytest.approx(expected, abs=1e-5)


def test_the_best_alpha_and_beta_on_validation_are_kept(tiny_clip, tiny_dataset, monkeypatch):
    monkeypatch.setattr(baselines.tip_adapter, "ALPHAS", (0.5, 4.0))
    monkeypatch.setattr(baselines.tip_adapter, "BETAS", (1.0, 50.0))
    validation = tiny_dataset["validation"]
    method, tried = fitted(tiny_clip, tiny_dataset), {}
    chosen = float(method.learner.alpha), float(method.learner.beta)
    for setting in [(0.0, 1.0), (0.5, 1.0), (0.5, 50.0), (4.0, 1.0), (4.0, 50.0)]:
        method.learner.choose(*setting)
        tried[setting] = mean_mrr(rank_split(method, *encode_split(method, validation), validation))
    assert tried[chosen] == max(tried.values())
    assert len(set(tried.values())) > 2


def test_no_cache_remains_where_none_is_better(tiny_clip, tiny_dataset):
    """A validation pair that is already first leaves nothing to win."""
    validation, zero_shot = tiny_dataset["validation"], get_method("zero_shot")(tiny_clip)
    ranks, _ = rank_split(zero_shot, *encode_split(zero_shot, validation), validation)
    perfect = validation.select([int(np.argmin(ranks.strict))])
    method = tip_adapter(tiny_clip)
    log = method.fit(tiny_dataset["train"], perfect)
    assert float(method.learner.alpha) == 0
    assert log.zero_shot_mrr == 1
    expected = scores(zero_shot, tiny_dataset["test"])
    assert scores(method, tiny_dataset["test"]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("most", "cached"), [(23, 23), (24, 24), (25, 24)])
def test_long_training_splits_are_thinned_evenly(
    tiny_clip, tiny_dataset, monkeypatch, most, cached
):
    monkeypatch.setattr(baselines.tip_adapter, "MOST_PAIRS", most)
    keys = fitted(tiny_clip, tiny_dataset).learner.kept
    assert keys.shape[1] == cached
    images, _ = plain(tiny_clip, tiny_dataset["train"])
    last = images[tiny_dataset["train"].pairs[-1, 0]]
    assert np.asarray(keys[0, -1]) == pytest.approx(last, abs=1e-6)


@pytest.mark.parametrize("shape", [(2, 3, 15), (3, 3, 16), (2, 16), (1, 3, 16)])
def test_cached_features_of_another_shape_are_refused(tiny_clip, shape):
    learner = tip_adapter(tiny_clip).learner
    state = learner.state_dict() | {"_extra_state": torch.zeros(shape)}
    with pytest.raises(RuntimeError, match="features of training rows have the shape"):
        learner.load_state_dict(state)
    learner.load_state_dict(state | {"_extra_state": torch.zeros(2, 5, 16)})
    assert learner.kept.shape == (2, 5, 16)
