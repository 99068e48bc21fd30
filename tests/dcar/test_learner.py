"""Token weights that are remembered from training."""

import pytest
import torch

from benchmark import Features, get_method


def captions_with(entry):
    """One caption whose only token has this vocabulary number."""
    valid = torch.tensor([[False, True, False]])
    return Features(torch.ones(1, 2), valid=valid, token_ids=torch.tensor([[0, entry, 0]]))


def test_the_mean_weight_is_not_biased_toward_its_start(tiny_clip):
    """After 2.0 and then 1.0 it is their weighted mean, not almost 1."""
    learner = get_method("dcar")(tiny_clip, n_ctx=2, depth=1, test_weights="token_mean").learner
    for weight in (2.0, 1.0):
        learner.update_mean_weights(captions_with(5), torch.tensor([[1.0, weight, 1.0]]))
    expected = (0.99 * 0.01 * 2.0 + 0.01 * 1.0) / (1 - 0.99**2)
    assert learner.mean_weights(captions_with(5))[0].tolist() == pytest.approx(
        [1, expected, 1], rel=1e-5
    )
    assert learner.mean_weights(captions_with(7))[0].tolist() == [1, 1, 1]  # never seen


def test_mean_weights_of_version_0_1_stay_as_they_are(tiny_clip):
    learner = get_method("dcar")(tiny_clip, n_ctx=2, depth=1, test_weights="token_mean").learner
    state = learner.state_dict()
    del state["updates"]
    state["mean_weight"] = torch.ones_like(state["mean_weight"])
    state["mean_weight"][5] = 1.25
    learner.load_state_dict(state)
    assert learner.mean_weights(captions_with(5))[0].tolist() == [1, 1.25, 1]
    assert learner.mean_weights(captions_with(7))[0].tolist() == [1, 1, 1]
